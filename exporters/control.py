"""An engine in lower precision, held against its control: is it faster, and what does it cost?

The control is what one would ship otherwise: float32, for TensorRT float16. Rounds of measurement
go over all engines in turn, so each round gives one ratio, and what disturbs a round disturbs both
sides of it. Of the ratios the median counts, and the interval that holds the true one in 95 of 100
such measurements (order statistics, no distribution assumed).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from datac.documents.precision import Precision
from datac.documents.report import Comparison, Latency, Metric, TargetResult
from exporters.targets import resolve

MAX_DROP = 0.01
CONFIDENCE = 0.95
FEWEST_ROUNDS = 6
"""Of five the two outermost hold the median in 93.75 %, and in no more."""


def compare_with_controls(
    results: Sequence[TargetResult], max_drop: float = MAX_DROP, torch: Metric | None = None
) -> tuple[TargetResult, ...]:
    """The results, those in lower precision with a comparison; one that costs too much fails.

    torch: the metric of eager torch, which an engine in int8 is held to where its control did not
    run.
    """
    known = {(result.target, result.precision): result for result in results}
    compared = []
    for result in results:
        control = known.get((result.target, _control(result)))
        if control is None or control is result or not _are_comparable(result, control):
            alone = result.precision == "int8" and result.status == "run"
            compared.append(_bounded(result, torch, max_drop) if alone else result)
        else:
            compared.append(_compared(result, control, max_drop))
    return tuple(compared)


def _are_comparable(result: TargetResult, control: TargetResult) -> bool:
    """Both ran, on the same device, with the same in them besides the network."""
    return result.status == control.status == "run" and (result.device, result.embedded) == (
        control.device,
        control.embedded,
    )


def _control(result: TargetResult) -> Precision:
    if result.precision == "int8":
        return resolve(result.target).control
    return "f32"


def _compared(result: TargetResult, control: TargetResult, max_drop: float) -> TargetResult:
    ratios = speedups(result.latency_ms, control.latency_ms)
    enough = len(ratios) >= FEWEST_ROUNDS
    low, middle, high = interval(ratios) if enough else (None, None, None)
    drop = _drop(result.metric, control.metric)
    if drop is None and middle is None:
        return result
    comparison = Comparison(
        control=f"{control.target} {control.precision}",
        speedup=middle,
        speedup_low=low,
        speedup_high=high,
        drop=drop,
        class_drops=_class_drops(result.metric, control.metric),
        max_drop=max_drop,
        outcome=_outcome(low, high, drop, max_drop),
    )
    compared = result.model_copy(update={"comparison": comparison})
    return _judged(compared, drop, max_drop, comparison.control)


def _bounded(result: TargetResult, torch: Metric | None, max_drop: float) -> TargetResult:
    """Without a control, the drop alone."""
    return _judged(result, _drop(result.metric, torch), max_drop, "torch")


def _judged(
    result: TargetResult, drop: float | None, max_drop: float, control: str
) -> TargetResult:
    if drop is None or drop <= max_drop:
        return result
    sentence = (
        f"its metric is {drop:.4f} below that of {control}, and {max_drop:g} is the most that was "
        "allowed (--max-drop)"
    )
    before = [result.reason] if result.verdict == "fail" and result.reason else []
    return result.model_copy(
        update={
            "verdict": "fail",
            "reason": "; ".join([*before, sentence]),
            "defects": (*result.defects, sentence),
        }
    )


def _outcome(
    low: float | None, high: float | None, drop: float | None, max_drop: float
) -> Literal["better", "not faster", "too much lost", "not measured"]:
    """`better` alone makes an engine one to ship for its speed."""
    if drop is not None and not drop <= max_drop:
        return "too much lost"
    if low is None or high is None:
        return "not measured"
    if low <= 1:
        return "not faster"
    return "better" if drop is not None else "not measured"


def _drop(metric: Metric | None, control: Metric | None) -> float | None:
    if metric is None or control is None:
        return None
    return control.value - metric.value


def _class_drops(metric: Metric | None, control: Metric | None) -> dict[str, float]:
    if metric is None or control is None:
        return {}
    shared = [name for name in control.per_class if name in metric.per_class]
    return {name: control.per_class[name] - metric.per_class[name] for name in shared}


def speedups(latency: Latency | None, control: Latency | None) -> list[float]:
    """Control over engine, round by round; nothing where they were not measured together."""
    if latency is None or control is None:
        return []
    pairs = zip(control.round_medians, latency.round_medians, strict=False)
    same = len(control.round_medians) == len(latency.round_medians)
    return [before / after for before, after in pairs if after > 0] if same else []


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(low, median, high): a distribution-free interval of the median, from `FEWEST_ROUNDS` on.

    The k-th smallest and the k-th largest of n, k the largest for which fewer than 2.5 % of
    Binomial(n, ½) lie below k.
    """
    ordered, count = sorted(values), len(values)
    below, k = 0.0, 0
    while k < count // 2:
        below += math.comb(count, k) / 2**count
        if below > (1 - CONFIDENCE) / 2:
            break
        k += 1
    k = max(k, 1)
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return ordered[k - 1], middle, ordered[count - k]
