"""The peak memory that the cost model says, against what a runtime takes for a call.

    python benchmarks/memory.py
    python benchmarks/memory.py --net cifar --batch 8 --json memory.json

Of each engine by its target's default plan: what values need at one time, from its rewritten graph
alone (`compiler/cost.py`), and by how much the first call makes a process of its own grow at its
highest. Needs Linux, whose kernel keeps that highest mark.

ONNX Runtime gives a value's memory back behind its last reader where sizes are open and its arena
is off. Where they are fixed it hands blocks on to values of the same size, and holds more for that;
with the arena, as it comes, it keeps what it once took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the checkout that this file stands in

from rewrites import NETS

WAYS = {
    "onnx-open": ("onnx", "ONNX Runtime, open sizes, no arena"),
    "onnx": ("onnx", "ONNX Runtime, no arena"),
    "onnx-arena": ("onnx", "ONNX Runtime, as it comes"),
    "openvino": ("openvino", "OpenVINO"),
}
"""Way to run → (target whose plan it is, title)."""

AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""glibc gives large blocks back when they are freed; what is kept back would count again."""


# ---- one call, in a process of its own ----------------------------------------------------------


def call_once(way: str, model: Path, shape: tuple[int, ...]) -> None:
    """Load, then print by how many bytes a call makes the process grow."""
    value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    call = _openvino(model) if way == "openvino" else _onnx(model, arena=way == "onnx-arena")
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
    call(value)
    print(_status("VmHWM") - before)


def _onnx(model: Path, *, arena: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    return lambda value: session.run(None, {session.get_inputs()[0].name: value})


def _openvino(model: Path) -> Any:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(str(model), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda value: request.infer({0: value})


def _status(key: str) -> int:
    """A line of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


# ---- what the graph says ------------------------------------------------------------------------


def write_engine(net: str, way: str, batch: int, out: Path) -> tuple[tuple[int, ...], int]:
    """The target's own model as a file: the shape of its input, and the bytes predicted."""
    from compiler.cost import graph_cost
    from compiler.lower import lower
    from compiler.passes import REWRITES
    from compiler.rewrite import apply
    from datac.documents.network import DEFAULTS
    from datac.published import load
    from exporters.canonical import canonical_graph, canonical_onnx
    from exporters.default_plan import rewrites_for
    from exporters.initialise import initialise
    from exporters.targets.specialise import specialise_model, write_model
    from exporters.targets.target import BuildOptions

    cell, sizes = NETS[net]
    network = DEFAULTS[sizes["skeleton"]].model_copy(update=sizes)
    genotype = load(cell)
    graph = lower(genotype, network)
    initialise(graph, network.input, 0)
    is_open = way == "onnx-open"
    options = BuildOptions((batch, *network.input), dynamic_height_width=is_open)
    names = rewrites_for(WAYS[way][0], options)
    made, _ = apply(canonical_graph(graph), [REWRITES[name] for name in names])
    write_model(specialise_model(canonical_onnx(made, genotype, network), options, net), out)
    return options.input_shape, graph_cost(made, batch).peak_bytes


def measure(net: str, way: str, batch: int, repeats: int) -> dict[str, Any]:
    """Predicted bytes, and the median of the measured ones."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        shape, predicted = write_engine(net, way, batch, model)
        words = ("--worker", way, str(model), ",".join(map(str, shape)))
        found = [
            int(
                subprocess.run(
                    [sys.executable, "-W", "ignore", __file__, *words],
                    env=os.environ | AT_ONCE,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(repeats)
        ]
    measured = int(np.median(found))
    return {"net": net, "way": way, "batch": batch, "predicted": predicted, "measured": measured}


def main() -> None:
    """Measure, print, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", nargs="+", choices=NETS, default=["cifar", "camvid"])
    parser.add_argument("--batch", nargs="+", type=int, default=[4, 16])
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        way, model, shape = arguments.worker
        call_once(way, Path(model), tuple(map(int, shape.split(","))))
        return
    rows = []
    print("| net | batch | runtime | predicted, MB | measured, MB | ratio |")
    print("|---|--:|---|--:|--:|--:|")
    for net in arguments.net:
        for batch in arguments.batch:
            for way in arguments.way:
                row = measure(net, way, batch, arguments.repeats)
                rows.append(row)
                ratio = row["measured"] / row["predicted"]
                print(
                    f"| {net} | {batch} | {WAYS[way][1]} | {row['predicted'] / 1e6:.1f} "
                    f"| {row['measured'] / 1e6:.1f} | {ratio:.2f} |",
                    flush=True,
                )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
