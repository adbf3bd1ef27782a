"""datac's engines against every other way to the same runtimes: latency, error, time of the export.

    python benchmarks/engines.py
    python benchmarks/engines.py --cell data-m4 data-m7 --batch 1 8 --threads 1 2 --json all.json

One net is exported by `torch.onnx.export` (both exporters, and both opsets that matter), each file
alone, simplified by onnxslim and by onnxsim where these are installed, and as ONNX Runtime saves it
after its own optimisation; datac writes its own by each target's default plan. All are then loaded
by ONNX Runtime and by OpenVINO, with `torch.compile` beside them, and timed in one run: rounds go
over all of them in an order drawn anew, so what slows the machine slows all. What counts is datac's
time over that of the best of the others in the same runtime and precision, round by round.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the checkout that this file stands in

from other_exports import Compiled, Made, export_all

NETS: dict[str, dict[str, Any]] = {
    "cifar": {"skeleton": "cifar"},
    "segmentation": {"skeleton": "segmentation", "input": (3, 256, 256)},
    "segmentation-open": {"skeleton": "segmentation", "input": (3, 256, 256)},
}
"""What differs from the published sizes; `-open` leaves height and width open in every file."""

RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
OURS = "datac"


@dataclass
class Entry:
    """One way to run the net. error: RMS over the logits' RMS, against float64."""

    name: str
    runtime: str
    precision: str
    runner: Any
    error: float = 0.0
    export_s: float | None = None


def load_all(
    made: Made, case: Case, folder: Path, stack: ExitStack, *, inductor: bool
) -> Iterator[Entry]:
    """Every file in every runtime, datac's engines, and `torch.compile`."""
    from exporters.targets import resolve
    from exporters.targets.target import Engine, TargetFailed

    options = case.options("f32")
    for runtime, title_of_runtime in RUNTIMES.items():
        target = resolve(runtime)
        for title, path in made.files.items():
            engine = Engine(path.name, {}, "cpu", {"dynamic": case.dynamic})
            try:
                runner = stack.enter_context(target.load(path.parent, engine, options))
            except TargetFailed as error:
                print(f"{title} in {title_of_runtime}: {error}", file=sys.stderr)
                continue
            yield Entry(title, runtime, "f32", runner, export_s=made.seconds.get(title))
        if case.given:
            continue
        for precision in case.precisions(runtime):
            yield _ours(runtime, precision, case, folder, stack)
    if case.given:
        yield from _standing(case, options, stack)
    if inductor and not case.dynamic:
        yield Entry("torch.compile", "torch", "f32", Compiled(case.build, case.threads))


def _standing(case: Case, options: Any, stack: ExitStack) -> Iterator[Entry]:
    """The engines of the build itself, as they are."""
    from exporters.build_folder import read_manifest
    from exporters.engines import open_engines

    for built in open_engines(case.build, read_manifest(case.build), options):
        if built.runs and built.result.target in RUNTIMES:
            runner = stack.enter_context(built.load())
            yield Entry(OURS, built.result.target, built.result.precision, runner)


def _ours(runtime: str, precision: Any, case: Case, folder: Path, stack: ExitStack) -> Entry:
    """The engine that `datac compile` makes, by the target's default plan."""
    from compiler.weights import read_weights_file
    from exporters.build_folder import read_build_genotype, read_manifest
    from exporters.canonical import bound_graph, canonical_graph
    from exporters.engines import Source
    from exporters.targets import resolve

    target = resolve(runtime)
    options = case.options(precision)
    begin = time.perf_counter()
    genotype, network = read_build_genotype(case.build, read_manifest(case.build))
    graph = bound_graph(
        genotype, network, read_weights_file(case.build / "weights.safetensors"), ""
    )
    source = Source(case.build, genotype, network, graph, canonical_graph(graph), (case.input,))
    place = folder / f"{runtime}-{precision}-{case.threads}"
    place.mkdir()
    with source.model(target, source.plan(target, options)) as model:
        engine = target.build(model, options, place)
    seconds = time.perf_counter() - begin
    runner = stack.enter_context(target.load(place, engine, options))
    return Entry(OURS, runtime, precision, runner, export_s=seconds)


@dataclass(frozen=True)
class Case:
    """One net at one size and thread count. given: the build is the user's, with its engines."""

    net: str
    cell: str
    batch: int
    threads: int
    build: Path
    input: NDArray[np.float32]
    given: bool = False

    @property
    def dynamic(self) -> bool:
        """Whether height and width stay open."""
        return self.net.endswith("-open")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        n, c, h, w = self.input.shape
        return n, c, h, w

    def options(self, precision: Any) -> Any:
        """How engines are built: open in height and width alone, as the other exporters' files."""
        from datac.documents.profile import Profile
        from exporters.targets.target import BuildOptions

        n, c, h, w = self.shape
        sizes = Profile(min=(n, c, h // 2, w // 2), opt=self.shape, max=(n, c, 2 * h, 2 * w))
        return BuildOptions(
            self.shape,
            precision=precision,
            threads=self.threads,
            dynamic_height_width=self.dynamic,
            profile=sizes if self.dynamic else None,
        )

    def precisions(self, runtime: str) -> list[str]:
        """f32, and bf16 where OpenVINO has instructions for it."""
        from exporters.targets import resolve

        found = ["f32"]
        if runtime == "openvino" and resolve(runtime).missing_precision("bf16") is None:
            found.append("bf16")
        return found

    def __str__(self) -> str:
        return f"{self.net}, {self.cell}, batch {self.batch}, {self.threads} threads"


def measure_case(case: Case, made: Made, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each way to run it."""
    from exporters.float64 import run_cases
    from exporters.measure import measure
    from exporters.reference import Case as ReferenceCase

    exact = run_cases(_graph(case.build), [ReferenceCase("x", case.input, {})])[0].outputs["logits"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        entries = list(load_all(made, case, folder, stack, inductor=arguments.inductor))
        for entry in entries:
            got = entry.runner.run({"input": case.input})["logits"].astype(np.float64)
            entry.error = float(np.sqrt(np.mean((got - exact) ** 2) / np.mean(exact**2)))
        latencies = measure(
            {str(at): entry.runner for at, entry in enumerate(entries)},
            {"input": case.input},
            budget_seconds=arguments.seconds,
            rounds=arguments.rounds,
        )
    return [
        {
            "case": str(case),
            "runtime": entry.runtime,
            "precision": entry.precision,
            "name": entry.name,
            "median_ms": latencies[str(at)].median,
            "spread": latencies[str(at)].spread,
            "round_medians": latencies[str(at)].round_medians,
            "error": entry.error,
            "export_s": entry.export_s,
        }
        for at, entry in enumerate(entries)
    ]


def _graph(build: Path) -> Any:
    from compiler.weights import read_weights_file
    from exporters.build_folder import read_build_genotype, read_manifest
    from exporters.canonical import bound_graph

    genotype, network = read_build_genotype(build, read_manifest(build))
    return bound_graph(genotype, network, read_weights_file(build / "weights.safetensors"), "")


def against_the_best(rows: list[dict[str, Any]], runtime: str) -> tuple[str, float, float, float]:
    """(the best of the others, and datac's f32 time over its: low, median, high)."""
    from exporters.control import interval

    there = [row for row in rows if row["runtime"] == runtime and row["precision"] == "f32"]
    ours = next(row for row in there if row["name"] == OURS)
    best = min((row for row in there if row is not ours), key=lambda row: row["median_ms"])
    pairs = zip(ours["round_medians"], best["round_medians"], strict=True)
    low, middle, high = interval([mine / theirs for mine, theirs in pairs])
    return best["name"], low, middle, high


def print_case(rows: list[dict[str, Any]]) -> None:
    """The table of one case, and datac against the best of the others."""
    print(f"\n## {rows[0]['case']}\n")
    print("| runtime | engine | precision | ms | spread | error | export, s |")
    print("|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["runtime"], row["median_ms"])):
        seconds = "" if row["export_s"] is None else f"{row['export_s']:.2f}"
        print(
            f"| {RUNTIMES.get(row['runtime'], row['runtime'])} | {row['name']} "
            f"| {row['precision']} | {row['median_ms']:.2f} | {row['spread']:.1%} "
            f"| {row['error']:.1e} | {seconds} |"
        )
    for runtime, title in RUNTIMES.items():
        name, low, middle, high = against_the_best(rows, runtime)
        print(
            f"\n{title}: datac takes {middle:.3f} ({low:.3f} to {high:.3f}) of the time of the "
            f"best of the others, {name}.",
            flush=True,
        )


def build_of(net: str, cell: str, folder: Path) -> Path:
    """A build of the cell with drawn weights; no engine is made."""
    from datac.documents.network import DEFAULTS, Network
    from datac.published import load
    from exporters.export import compile_genotype
    from exporters.request import Request

    sizes = NETS[net]
    network = Network.model_validate({**dict(DEFAULTS[sizes["skeleton"]]), **sizes})
    out = folder / "build"
    compile_genotype(load(cell), network, None, Request((), out, bench_seconds=0.0))
    return out


def main() -> None:
    """Every combination that was asked for; rows as JSON where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", type=Path, help="of yours: its engines, at its input's size")
    parser.add_argument("--net", nargs="+", choices=NETS, default=["cifar"])
    parser.add_argument("--cell", nargs="+", default=["data-m7"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=60.0, help="for one table")
    parser.add_argument("--inductor", action="store_true", help="time torch.compile too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.build is not None:
        with tempfile.TemporaryDirectory() as name:
            results += _given(arguments.build, Path(name), arguments)
        if arguments.json is not None:
            _write(arguments.json, results)
        return
    for net in arguments.net:
        for cell in arguments.cell:
            with tempfile.TemporaryDirectory() as name:
                build = build_of(net, cell, Path(name))
                results += _all_sizes(net, cell, build, Path(name), arguments)
            if arguments.json is not None:
                _write(arguments.json, results)


def _given(build: Path, folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from exporters.build_folder import read_manifest
    from exporters.reference import load_reference

    network = read_manifest(build).network
    value = load_reference(build / "reference.npz").first((1, *network.input)).input
    made = export_all(build, value.shape, folder, dynamic=False)
    rows: list[dict[str, Any]] = []
    for threads in arguments.threads:
        case = Case(build.name, "its genotype", 1, threads, build, value, given=True)
        found = measure_case(case, made, arguments)
        print_case(found)
        rows += found
    return rows


def _all_sizes(
    net: str, cell: str, build: Path, folder: Path, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for batch in arguments.batch:
        sizes = NETS[net].get("input", (3, 32, 32))
        value = np.random.default_rng(0).standard_normal((batch, *sizes)).astype(np.float32)
        files = folder / f"batch{batch}"
        files.mkdir()
        made = export_all(build, value.shape, files, dynamic=net.endswith("-open"))
        for threads in arguments.threads:
            case = Case(net, cell, batch, threads, build, value)
            found = measure_case(case, made, arguments)
            print_case(found)
            rows += found
    return rows


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    from exporters.environment import environment

    document = {"environment": environment().model_dump(mode="json"), "rows": rows}
    path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
