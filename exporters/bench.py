"""The latency of a build's engines, without judging them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from compiler.lower import INPUT
from datac.documents.build_folder import REFERENCE
from datac.documents.report import Latency
from datac.errors import PlatformMissing
from exporters.build_folder import read_manifest, require_intact
from exporters.engines import open_engines
from exporters.measure import measure
from exporters.reference import load_reference
from exporters.targets.target import BuildOptions, Runner


def bench(
    folder: Path,
    *,
    seconds: float,
    threads: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Latency]:
    """Engine → latency on the first input of the reference.

    Raises PlatformMissing where no engine of the build can run here.
    """
    manifest = read_manifest(folder)
    require_intact(folder, manifest, (REFERENCE,))
    shape = (1, *manifest.network.input)
    options = BuildOptions(shape, threads=threads)
    engines = open_engines(folder, manifest, options)
    case = load_reference(folder / REFERENCE).fitting(shape)[0]
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for engine in engines:
            # Built for a device that is not here: the others are timed.
            with suppress(PlatformMissing):
                if engine.runs:
                    runners[engine.name] = stack.enter_context(engine.load())
        if not runners:
            raise PlatformMissing(
                f"{folder}: no engine of this build can run here; datac doctor says what can"
            )
        inputs = {INPUT: case.input}
        return measure(runners, inputs, budget_seconds=seconds, progress=progress)
