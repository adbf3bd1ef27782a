"""Healthy ways to run a network: runtimes, optimisation, threads, precisions, orders, instructions.

What differs between them is rounding and nothing else, so none may raise an alarm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.interpreter import Array, Interpreter
from compiler.lower import INPUT
from compiler.ops import Conv, Linear, Sum
from compiler.precision import rounded
from datac.documents.precision import PRECISIONS, Precision
from exporters.canonical import canonical_graph
from exporters.expose import expose
from exporters.faults.fault import rebuilt
from exporters.faults.instruction_sets import (
    ONEDNN_AVX,
    OPENBLAS_AVX2,
    OPENBLAS_SSE4,
    Setting,
    run_with,
)
from exporters.onnx_writer import write_onnx
from exporters.precision import Plan
from exporters.precision import deployed as deployed_by
from exporters.targets import resolve
from exporters.targets.target import Missing

Float32 = NDArray[np.float32]
Values = dict[str, NDArray[np.generic]]

PLANS: dict[str, Precision] = {"tf32": "f32"}
"""Precision of the arithmetic → that of the engine, where the two differ."""


def deployed(graph: Graph, precision: str, keep: Collection[str] = ()) -> Graph:
    """Batch norms folded, in the types of an engine of the precision, but for the nodes `keep`.

    TargetFailed where a weight is too large for its type.
    """
    plan = Plan(PLANS.get(precision) or as_precision(precision), tuple(keep))
    return deployed_by(canonical_graph(graph), plan)


def as_precision(word: str) -> Precision:
    """One of an engine's precisions."""
    return next(precision for precision in PRECISIONS if precision == word)


@dataclass(frozen=True)
class Variation:
    """One way to run. run: (graph, x, seen) → what the nodes `seen` and the outputs computed.

    The graph has weights, and its batch norms are not folded; x: (N, C, H, W). Outputs come by
    the name of their node in the deployed graph. needs: the target whose package and processor it
    takes; None for numpy alone. folds: the batch norms, as every engine of datac does. setting:
    what tells its library of an instruction set of x86-64.
    """

    precision: str
    run: Callable[[Graph, Float32, Collection[str]], Values]
    needs: str | None = None
    folds: bool = True
    setting: Setting | None = None

    def deployed(self, graph: Graph) -> Graph:
        """What it runs. TargetFailed where a weight is too large for its type."""
        return deployed(graph, self.precision) if self.folds else graph

    def missing(self) -> Missing | None:
        """What this machine lacks for it, if anything."""
        lacking = None if self.setting is None else self.setting.missing()
        if lacking is not None or self.needs is None:
            return lacking
        target = resolve(self.needs)
        return target.missing() or target.missing_precision(as_precision(self.precision))


# ---- ONNX Runtime -----------------------------------------------------------------------------


def _onnxruntime(precision: str, level: str, threads: int, reorder: bool = False) -> Variation:
    def run(graph: Graph, x: Float32, seen: Collection[str]) -> Values:
        made = deployed(_reordered(graph) if reorder else graph, precision)
        return run_onnxruntime(made, x, seen, level=level, threads=threads)

    return Variation(precision, run, "onnx")


def _unfolded(graph: Graph, x: Float32, seen: Collection[str]) -> Values:
    """Batch norms as nodes of their own."""
    return run_onnxruntime(graph, x, seen, level="ORT_DISABLE_ALL", threads=1)


def run_onnxruntime(
    graph: Graph, x: Float32, seen: Collection[str], *, level: str, threads: int
) -> Values:
    """The graph as it is, written as ONNX, with the values `seen` exposed."""
    model = write_onnx(graph, {})
    labels = {name: graph[name].label for name in seen if name in graph}
    answers = answers_of(expose(model, labels.values()) if labels else model, x, level, threads)
    return _by_node(graph, labels, answers)


def answers_of(model: onnx.ModelProto, x: Float32, level: str, threads: int) -> Values:
    """All outputs of a model by name."""
    session = _session(model, level, threads)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT: x}), strict=True))


def fused_values(graph: Graph, x: Float32) -> Values:
    """Whatever can be seen in the engine that ONNX Runtime makes of it, fused as it is.

    By the name of the node. Layouts of its own, which come last, would hide nearly all.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fused.onnx"
        _session(write_onnx(graph, {}), "ORT_ENABLE_EXTENDED", 1, save=path)
        fused = onnx.load(path)
    labels = {node.name: node.label for node in graph.nodes()}
    answers = answers_of(expose(fused, labels.values()), x, "ORT_DISABLE_ALL", 1)
    return _by_node(graph, labels, answers)


def _session(model: onnx.ModelProto, level: str, threads: int, save: Path | None = None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if save is not None:
        options.optimized_model_filepath = str(save)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _by_node(graph: Graph, labels: Mapping[str, str], answers: Values) -> Values:
    values = {name: answers[label] for name, label in labels.items() if label in answers}
    return values | {name: answers[key] for key, name in graph.outputs.items()}


def _reordered(graph: Graph) -> Graph:
    """The sums of the nodes from right to left."""
    return rebuilt(
        graph, {n.name: n.operands[::-1] for n in graph.nodes() if isinstance(n.op, Sum)}
    )


# ---- OpenVINO ---------------------------------------------------------------------------------


def run_openvino(precision: str, graph: Graph, x: Float32, seen: Collection[str]) -> Values:
    """The folded graph, in that inference precision."""
    import openvino

    folded = canonical_graph(graph)
    labels = {name: folded[name].label for name in seen if name in folded}
    model = expose(write_onnx(folded, {}), labels.values())
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": "1",
    }
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    request.infer({INPUT: x})
    names = [output.name for output in model.graph.output]
    answers = {name: np.array(request.get_tensor(name).data) for name in names}
    values = _by_node(folded, labels, answers)
    made = deployed(graph, precision)
    return values | {name: answers[key] for key, name in made.outputs.items()}


def _openvino(precision: str) -> Variation:
    return Variation(precision, partial(run_openvino, precision), "openvino")


# ---- rounding that no processor here does -------------------------------------------------------


def run_numpy(precision: str, graph: Graph, x: Float32, seen: Collection[str]) -> Values:
    """In float32, each result rounded as the precision rounds it."""
    made = deployed(graph, precision)
    names = [name for name in seen if name in made]
    wanted = [*names, *made.outputs.values()]
    after = {"tf32": _tensor_float, "bf16": _brain_float}.get(precision)
    return {**Interpreter(made, np.float32).run({INPUT: x}, wanted=wanted, after=after)}


def _numpy(precision: str) -> Variation:
    return Variation(precision, partial(run_numpy, precision))


def _tensor_float(
    node: Node, weights: Mapping[str, Array], operands: tuple[Array, ...], result: Array
) -> Array:
    """What a convolution multiplies is rounded to eleven bits first, as tensor cores do."""
    if not isinstance(node.op, Conv | Linear):
        return result
    short = {**weights, "weight": to_tf32(weights["weight"])}
    return node.op.compute(short, to_tf32(operands[0]))


def _brain_float(
    node: Node, weights: Mapping[str, Array], operands: tuple[Array, ...], result: Array
) -> Array:
    del weights, operands
    return rounded(result, node.type.dtype)


def to_tf32(x: Array) -> Array:
    """Eleven significant bits, to nearest, ties to even. float32 in and out."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    half = ((bits >> np.uint32(13)) & np.uint32(1)) + np.uint32(0xFFF)
    return ((bits + half) & np.uint32(0xFFFFE000)).view(np.float32)


def _with_setting(way: Variation, setting: Setting) -> Variation:
    return replace(way, run=partial(run_with, setting, way.run), setting=setting)


HEALTHY: dict[str, Variation] = {
    "ONNX Runtime, not optimised": _onnxruntime("f32", "ORT_DISABLE_ALL", 1),
    "ONNX Runtime, basic": _onnxruntime("f32", "ORT_ENABLE_BASIC", 1),
    "ONNX Runtime": _onnxruntime("f32", "ORT_ENABLE_ALL", 1),
    "ONNX Runtime, two threads": _onnxruntime("f32", "ORT_ENABLE_ALL", 2),
    "ONNX Runtime, sums reversed": _onnxruntime("f32", "ORT_ENABLE_ALL", 1, reorder=True),
    "ONNX Runtime, batch norms not folded": Variation("f32", _unfolded, "onnx", folds=False),
    "OpenVINO": _openvino("f32"),
    "OpenVINO, AVX": _with_setting(_openvino("f32"), ONEDNN_AVX),
    "numpy": _numpy("f32"),
    "numpy, AVX2": _with_setting(_numpy("f32"), OPENBLAS_AVX2),
    "numpy, SSE4": _with_setting(_numpy("f32"), OPENBLAS_SSE4),
    "TF32 rounding": _numpy("tf32"),
    "ONNX Runtime f16, not optimised": _onnxruntime("f16", "ORT_DISABLE_ALL", 1),
    "ONNX Runtime f16": _onnxruntime("f16", "ORT_ENABLE_ALL", 1),
    "ONNX Runtime f16, sums reversed": _onnxruntime("f16", "ORT_ENABLE_ALL", 1, reorder=True),
    "bf16 rounding": _numpy("bf16"),
    "OpenVINO bf16": _openvino("bf16"),
}
"""Every healthy variation that this package can run on a CPU."""

MAIN = {
    "f32": "ONNX Runtime",
    "tf32": "TF32 rounding",
    "f16": "ONNX Runtime f16",
    "bf16": "bf16 rounding",
}
"""The variation that faults are injected into, by precision."""
