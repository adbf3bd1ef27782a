"""The same engine of two builds, timed side by side: a pruned network against the whole one, say.

    python benchmarks/two_builds.py build smaller-build --engine onnx-f32 --threads 1

`datac bench` times the engines of one build. Here rounds go over both builds in turn; the ratio is
the first's time over the second's, round by round, so above 1 the second is faster.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout that this file stands in, whatever is installed

from compiler.lower import INPUT
from exporters.build_folder import read_manifest
from exporters.control import FEWEST_ROUNDS, interval, speedups
from exporters.engines import open_engines
from exporters.measure import measure
from exporters.reference import load_reference
from exporters.targets.target import BuildOptions, Runner


def load(folder: Path, engine: str, threads: int | None, stack: ExitStack) -> Runner:
    """The engine of that name."""
    manifest = read_manifest(folder)
    options = BuildOptions((1, *manifest.network.input), threads=threads)
    for built in open_engines(folder, manifest, options):
        if built.name == engine and built.runs:
            return stack.enter_context(built.load())
    raise SystemExit(f"{folder} has no engine {engine} that runs here")


def main() -> None:
    """Print both medians, the ratio and its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("builds", nargs=2, type=Path)
    parser.add_argument("--engine", default="onnx-f32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=31)
    arguments = parser.parse_args()
    first, second = arguments.builds
    shape = (1, *read_manifest(first).network.input)
    value = load_reference(first / "reference.npz").first(shape).input
    with ExitStack() as stack:
        runners = {
            str(folder): load(folder, arguments.engine, arguments.threads, stack)
            for folder in (first, second)
        }
        found = measure(
            runners,
            {INPUT: value},
            budget_seconds=arguments.seconds,
            rounds=arguments.rounds,
            fewest_rounds=FEWEST_ROUNDS,
        )
    before, after = found[str(first)], found[str(second)]
    low, middle, high = interval(speedups(after, before))
    print(f"{first}: {before.median:.3f} ms, {second}: {after.median:.3f} ms")
    print(
        f"{second} is {middle:.3f} times ({low:.3f} to {high:.3f}) as fast, {after.rounds} rounds"
    )


if __name__ == "__main__":
    main()
