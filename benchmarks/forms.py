"""ONNX written in other ways than datac writes it: processor time on ONNX Runtime, as ratios.

datac compile data-m7 --network cifar --target onnx --bench-seconds 0
python benchmarks/forms.py build
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

OURS = "as datac writes it"
WARM_UP = 20


def newer(model: onnx.ModelProto) -> None:
    """The same nodes at opset 20."""
    model.opset_import[0].version = 20


def sums(model: onnx.ModelProto) -> None:
    """Each chain of Add becomes one Sum; datac calls the inner links add1, add2, ..."""
    adds = {node.output[0]: node for node in model.graph.node if node.op_type == "Add"}
    inner = {name for name in adds if name.rpartition("/")[2].startswith("add")}

    def addends(node: onnx.NodeProto) -> list[str]:
        return [x for i in node.input for x in (addends(adds[i]) if i in inner else [i])]

    nodes = [node for node in model.graph.node if node.output[0] not in inner]
    for place, node in enumerate(nodes):
        if node.op_type == "Add":
            nodes[place] = helper.make_node("Sum", addends(node), list(node.output), node.name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def session(
    path: Path, change: Callable[[onnx.ModelProto], None] | None = None
) -> onnxruntime.InferenceSession:
    """The file on one thread, changed first."""
    model = onnx.load(path)
    if change is not None:
        change(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def measure(
    sessions: dict[str, onnxruntime.InferenceSession], calls: int
) -> dict[str, list[float]]:
    """Seconds of processor time of each call, the sessions taking turns."""
    shape = sessions[OURS].get_inputs()[0].shape
    inputs = {"input": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(WARM_UP + calls):
        for name, run in sessions.items():
            begin = time.process_time()
            run.run(None, inputs)
            times[name].append(time.process_time() - begin)
    return {name: values[WARM_UP:] for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path, help="a build with the target onnx at a fixed size")
    parser.add_argument("--calls", type=int, default=180)
    arguments = parser.parse_args()
    engine = arguments.build / "engines/onnx-f32/model.onnx"
    sessions = {
        OURS: session(engine),
        "opset 20": session(engine, newer),
        "Sum": session(engine, sums),
        "open in size": session(arguments.build / "model.onnx"),
    }
    times = measure(sessions, arguments.calls)
    ours = statistics.median(times[OURS])
    for name, values in times.items():
        low, middle, high = (q / ours for q in statistics.quantiles(values, n=4))
        print(f"{name:20} {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
