"""datac's ONNX against `torch.onnx.export` of the same net: time, latency, error.

    python benchmarks/emission.py
    python benchmarks/emission.py --net cifar --repeats 3 --json emission.json

Three exporters start from the same files of a build (genotype, weights, `model.py`), each export
in a process of its own, in rounds that go over all exporters in an order drawn anew. Ratios are
taken within a round, so that what slows the machine slows both sides of a ratio. datac's whole
process is the command that a user types, `datac compile GENOTYPE --weights FILE --emit-only`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout that this file stands in, whatever is installed

OPSET = 18
EXPORTERS = ("datac", "dynamo", "torchscript")
TITLES = {
    "datac": "datac",
    "dynamo": "torch.onnx.export, dynamo=True",
    "torchscript": "torch.onnx.export, dynamo=False",
}
NETS: dict[str, dict[str, Any]] = {
    "cifar": {"skeleton": "cifar"},
    "segmentation": {
        "skeleton": "segmentation",
        "channels": 16,
        "cells": 8,
        "input": (3, 180, 240),
        "head_channels": 64,
    },
    "segmentation-full": {"skeleton": "segmentation"},
}
"""What differs from the published sizes (C=36, L=20, 3x32x32; C=48, L=14, 3x512x512)."""


# ---- one export, in a process of its own ------------------------------------------------------


def export_once(exporter: str, build: Path, out: Path, again: int) -> dict[str, Any]:
    """Seconds of the first export and of `again` more in the same process, imports left out."""
    export = _datac(build, out) if exporter == "datac" else _torch(exporter, build, out)
    times = []
    for _ in range(1 + again):
        start = time.perf_counter()
        export()
        times.append(time.perf_counter() - start)
    return {"first_s": times[0], "again_s": times[1:]}


def _datac(build: Path, out: Path) -> Callable[[], None]:
    """Weights file and genotype → graph → batch norms folded → ONNX file. No torch."""
    from compiler.weights import read_weights_file
    from datac.documents.build_folder import WEIGHTS
    from exporters.build_folder import read_build_genotype, read_manifest
    from exporters.canonical import bound_graph, canonical_graph, canonical_onnx
    from exporters.targets.specialise import write_model

    def export() -> None:
        genotype, network = read_build_genotype(build, read_manifest(build))
        weights = read_weights_file(build / WEIGHTS)
        graph = bound_graph(genotype, network, weights, WEIGHTS)
        write_model(canonical_onnx(canonical_graph(graph), genotype, network), out)

    return export


def _torch(exporter: str, build: Path, out: Path) -> Callable[[], None]:
    """Weights file and `model.py` → ONNX file, at the size of the network's input."""
    import torch

    from exporters.build_folder import read_build_genotype, read_manifest

    sys.path.insert(0, str(build))
    import model  # type: ignore[import-not-found]

    shape = (1, *read_build_genotype(build, read_manifest(build))[1].input)
    dynamo = exporter == "dynamo"
    settings: dict[str, Any] = {"input_names": ["input"], "output_names": ["logits"]}
    settings |= {"opset_version": OPSET, "dynamo": dynamo}
    if dynamo:
        settings |= {"external_data": False, "verbose": False}

    def export() -> None:
        network = model.load(build / "weights.safetensors")
        torch.onnx.export(network, (torch.zeros(shape),), out, **settings)

    return export


# ---- rounds of processes --------------------------------------------------------------------


def time_exports(
    exporters: Sequence[str], build: Path, out: Path, repeats: int, again: int
) -> dict[str, list[Any]]:
    """Exporter → one record a round; `process_s` is the wall time of the whole process."""
    records: dict[str, list[Any]] = {exporter: [] for exporter in exporters}
    draw, order = random.Random(0), list(exporters)
    for done in range(repeats):
        draw.shuffle(order)
        for exporter in order:
            print(f"export {done + 1} of {repeats}: {exporter}", file=sys.stderr, flush=True)
            worker = ("--worker", exporter, "--build", str(build), "--out", _file(out, exporter))
            own = (__file__, *worker, "--again")
            # One export and no more is the script that a user of torch would write.
            alone = _command(build, out) if exporter == "datac" else (*own, "0")
            seconds, _ = _timed(alone)
            _, said = _timed((*own, str(again)))
            # The exporter of torch prints its own steps before.
            record = json.loads(said.splitlines()[-1])
            records[exporter].append({"process_s": seconds, **record})
    return records


def _command(build: Path, out: Path) -> tuple[str, ...]:
    """`datac compile --emit-only`, with the genotype (which names its network) and the weights."""
    from datac.documents.build_folder import GENOTYPE, WEIGHTS

    source, weights = str(build / GENOTYPE), str(build / WEIGHTS)
    words = ("compile", source, "--weights", weights, "--emit-only", "--out", _file(out, "datac"))
    return ("-m", "datac", *words)


def _timed(words: Sequence[str]) -> tuple[float, str]:
    """Wall seconds of a Python of its own, and what it printed."""
    begin = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", *words],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if finished.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {finished.returncode}: {finished.stderr}")
    return seconds, finished.stdout


def _file(out: Path, exporter: str) -> str:
    return str(out / exporter / "model.onnx")


def spread_of(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "low": float(low), "high": float(high)}


def summarise_exports(records: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Medians and quartiles in seconds, and the ratio to datac, taken round by round."""
    summary: dict[str, dict[str, Any]] = {}
    for exporter, rounds in records.items():
        again = [statistics.median(r["again_s"] or [r["first_s"]]) for r in rounds]
        ours = records["datac"]
        ratios = [r["process_s"] / o["process_s"] for r, o in zip(rounds, ours, strict=True)]
        summary[exporter] = {
            "process_s": spread_of([r["process_s"] for r in rounds]),
            "first_s": spread_of([r["first_s"] for r in rounds]),
            "again_s": spread_of(again),
            "process_ratio": spread_of(ratios),
        }
    return summary


# ---- what came out ----------------------------------------------------------------------------


def judge_files(
    exporters: Sequence[str], build: Path, out: Path, seconds: float, threads: int | None
) -> dict[str, Any]:
    """Size, nodes, error and latency of each file on ONNX Runtime, all at one fixed size."""
    import onnx

    from datac.documents.profile import only
    from exporters.build_folder import read_build_genotype, read_manifest
    from exporters.measure import measure
    from exporters.numbers import judge_numbers
    from exporters.reference import load_reference
    from exporters.targets import resolve
    from exporters.targets.specialise import specialise, write_model
    from exporters.targets.target import BuildOptions, Engine

    shape = (1, *read_build_genotype(build, read_manifest(build))[1].input)
    options = BuildOptions(shape, threads=threads)
    reference = load_reference(build / "reference.npz")
    results: dict[str, Any] = {}
    with ExitStack() as stack:
        runners = {}
        for exporter in exporters:
            path = Path(_file(out, exporter))
            size_bytes, nodes = path.stat().st_size, len(onnx.load(path).graph.node)
            write_model(specialise(path, options), path)
            engine = Engine(path.name, {}, "cpu")
            runner = stack.enter_context(resolve("onnx").load(path.parent, engine, options))
            numbers = judge_numbers(runner, reference, only(shape))
            errors = {"max_abs": max(e.max_abs for e in numbers.errors), "verdict": numbers.verdict}
            errors["rms"] = max(e.rms for e in numbers.errors)
            errors["tolerance"] = min(e.tolerance for e in numbers.errors)
            results[exporter] = {"size_bytes": size_bytes, "nodes": nodes, "error": errors}
            runners[exporter] = runner
        inputs = {"input": reference.first(shape).input}
        for exporter, latency in measure(runners, inputs, budget_seconds=seconds).items():
            results[exporter]["latency_ms"] = latency.model_dump()
    return results


def run_net(name: str, settings: argparse.Namespace) -> dict[str, Any]:
    """Build once (weights drawn from the seed), then export, then judge."""
    from datac.documents.network import DEFAULTS, Network
    from datac.published import load
    from exporters.export import compile_genotype
    from exporters.request import Request

    sizes = dict(NETS[name])
    names = ["datac", *(settings.exporter or EXPORTERS[1:])]
    network = Network.model_validate(
        {**dict(DEFAULTS[sizes["skeleton"]]), **sizes, **given(settings)}
    )
    with tempfile.TemporaryDirectory() as temporary:
        build, out = Path(temporary) / "build", Path(temporary) / "exports"
        for exporter in names:
            (out / exporter).mkdir(parents=True)
        request = Request((), build, bench_seconds=0.0, threads=settings.threads)
        report = compile_genotype(load(settings.genotype), network, None, request)
        records = time_exports(names, build, out, settings.repeats, settings.again)
        exporters = summarise_exports(records)
        for exporter, result in judge_files(
            names, build, out, settings.seconds, settings.threads
        ).items():
            exporters[exporter] |= result
    return {
        "genotype": settings.genotype,
        "network": network.model_dump(mode="json", exclude_none=True),
        "parameters": report.parameters,
        "multiply_adds": report.multiply_adds,
        "environment": report.environment.model_dump(),
        "exporters": exporters,
    }


def given(settings: argparse.Namespace) -> dict[str, Any]:
    """Sizes of the command line."""
    sizes = {"channels": settings.channels, "cells": settings.cells}
    if settings.input is not None:
        sizes["input"] = tuple(map(int, settings.input.split("x")))
    return {name: size for name, size in sizes.items() if size is not None}


# ---- the table -----------------------------------------------------------------------------------


def table(name: str, result: dict[str, Any]) -> str:
    """A table in Markdown: median (quartiles), and in front of × the ratio to datac."""
    network, ours = result["network"], result["exporters"]["datac"]
    size = "x".join(map(str, network["input"]))
    rows = [
        f"### {name}: {result['genotype']}, C={network['channels']}, L={network['cells']}, {size}, "
        f"{result['parameters']:,} parameters",
        "",
        "| exporter | whole process, s | × | export alone, s | × | nodes | latency, ms | × "
        "| RMS error | of tolerance |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for exporter, theirs in result["exporters"].items():
        latency, error = theirs["latency_ms"], theirs["error"]
        mark = "" if latency["conclusive"] else " (inconclusive)"
        cells = (
            TITLES[exporter],
            _spread(theirs["process_s"]),
            f"{theirs['process_ratio']['median']:.1f}",
            _spread(theirs["again_s"]),
            f"{theirs['again_s']['median'] / ours['again_s']['median']:.1f}",
            str(theirs["nodes"]),
            f"{latency['median']:.3g}, spread {latency['spread']:.0%}{mark}",
            f"{latency['median'] / ours['latency_ms']['median']:.2f}",
            f"{error['rms']:.2g}",
            f"{error['rms'] / error['tolerance']:.2f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    where, threads = result["environment"], ours["latency_ms"]["threads"]
    packages = ", ".join(
        f"{p} {where['packages'][p]}" for p in ("torch", "onnxruntime") if p in where["packages"]
    )
    return "\n".join([*rows, "", f"{where['processor']}, {threads} threads, {packages}", ""])


def _spread(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} ({values['low']:.2f} to {values['high']:.2f})"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--net", action="append", choices=NETS, help="default: the first two")
    parser.add_argument(
        "--exporter", action="append", choices=EXPORTERS[1:], help="beside datac; default: both"
    )
    parser.add_argument("--genotype", default="data-m7", help="a published name")
    parser.add_argument("--channels", type=int, help="instead of the net's own")
    parser.add_argument("--cells", type=int)
    parser.add_argument("--input", help="CHANNELSxHEIGHTxWIDTH")
    parser.add_argument("--repeats", type=int, default=3, help="processes an exporter")
    parser.add_argument("--again", type=int, default=1, help="exports more in each process")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the latencies of a net")
    parser.add_argument("--threads", type=int, help="of ONNX Runtime; default: every core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    for hidden in ("--worker", "--build", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    settings = arguments().parse_args()
    if settings.worker:
        done = export_once(
            settings.worker, Path(settings.build), Path(settings.out), settings.again
        )
        print(json.dumps(done))
        return
    results = {name: run_net(name, settings) for name in settings.net or list(NETS)[:2]}
    for name, result in results.items():
        print(table(name, result))
    if settings.json is not None:
        settings.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
