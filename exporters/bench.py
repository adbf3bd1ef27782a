"""The latency of a build's engines, without judging them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from compiler.lower import INPUT
from datac.documents.build_folder import REFERENCE
from datac.documents.report import Latency
from datac.errors import PlatformMissing
from exporters.build_folder import read_manifest, require_intact
from exporters.engines import open_engines
from exporters.measure import measure
from exporters.reference import load_reference
from exporters.targets.target import BuildOptions, Runner, TargetFailed


@dataclass(frozen=True)
class Timed:
    """Engine → latency; and for each engine that was not timed, a sentence on why."""

    latencies: dict[str, Latency]
    skipped: dict[str, str]


def bench(
    folder: Path,
    *,
    seconds: float,
    trust: bool = False,
    threads: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Timed:
    """The latency of every engine that runs here, on the first input of the reference.

    Raises PlatformMissing where no engine of the build can run here.
    """
    manifest = read_manifest(folder)
    require_intact(folder, manifest, (REFERENCE,))
    shape = (1, *manifest.network.input)
    options = BuildOptions(shape, threads=threads)
    engines = open_engines(folder, manifest, options, trust=trust)
    case = load_reference(folder / REFERENCE).first(shape)
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        skipped: dict[str, str] = {}
        for engine in engines:
            if not engine.runs:
                skipped[engine.name] = engine.result.reason or "it cannot run here"
                continue
            try:
                runners[engine.name] = stack.enter_context(engine.load())
            except (PlatformMissing, TargetFailed) as error:
                skipped[engine.name] = str(error)
        if not runners:
            raise PlatformMissing(
                f"{folder}: no engine of this build can run here; datac doctor says what can"
            )
        inputs = {INPUT: case.input}
        latencies = measure(runners, inputs, budget_seconds=seconds, progress=progress)
    return Timed(latencies, skipped)
