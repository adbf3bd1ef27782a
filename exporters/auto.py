"""`--target auto`: every engine that this machine can run, and which of them is the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from datac.documents.precision import PRECISIONS, Precision
from datac.documents.report import Fastest, TargetResult
from exporters.control import FEWEST_ROUNDS, interval, speedups
from exporters.targets import TARGETS, resolve
from exporters.targets.target import BuildOptions, missing_for

AUTO = "auto"

Pair = tuple[str, Precision]


def engines_here(
    options: BuildOptions, precisions: Sequence[Precision], *, int8: bool
) -> tuple[Pair, ...]:
    """(target, precision) of all that builds and runs here; eager torch is no engine.

    precisions: those to try; none for all. int8: whether there is data to calibrate on.
    """
    found: list[Pair] = []
    for name in TARGETS:
        target = resolve(name)
        if name == "torch" or target.missing() or target.missing_to_run():
            continue
        for precision in precisions or PRECISIONS:
            there = missing_for(target, replace(options, precision=precision)) is None
            if there and (int8 or precision != "int8"):
                found.append((name, precision))
    return tuple(found)


def fastest(results: Sequence[TargetResult]) -> Fastest | None:
    """The fastest engine that passes the gate, beside the first in float32 that does.

    None where fewer than two were timed, or no time is conclusive.
    """
    timed = [
        result
        for result in results
        if result.verdict == "pass" and result.latency_ms and result.latency_ms.conclusive
    ]
    plain = next((result for result in timed if result.precision == "f32"), None)
    if plain is None or len(timed) < 2:
        return None
    best = min(timed, key=lambda result: result.latency_ms.median if result.latency_ms else 0.0)
    ratios = speedups(best.latency_ms, plain.latency_ms)
    if best.latency_ms is None or len(ratios) < FEWEST_ROUNDS:
        return None
    low, middle, high = interval(ratios)
    return Fastest(
        engine=_name(best),
        median_ms=best.latency_ms.median,
        than=_name(plain),
        speedup=middle,
        speedup_low=low,
        speedup_high=high,
        metric=best.metric.value if best.metric else None,
        than_metric=plain.metric.value if plain.metric else None,
    )


def _name(result: TargetResult) -> str:
    return f"{result.target} {result.precision}"
