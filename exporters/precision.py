"""A build's network in the precision of an engine: which nodes stay float32, and the engine's ONNX.

float16 ends at 65504. What the values of each node reach is measured on the inputs of the
reference, which are real where the build was given data: a sum of many paths that leaves the range
stays float32, and so does whatever reads it. ONNX Runtime on a CPU would hide such an overflow,
since it computes wider than the types say; a GPU would not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.embed import embedded
from compiler.graph import Graph, Node
from compiler.interpreter import Array, Interpreter
from compiler.lower import INPUT
from compiler.ops import Input
from compiler.passes import REWRITES
from compiler.precision import LARGEST, typed
from compiler.proof import needs_own_size
from compiler.rewrite import apply
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.precision import Precision
from datac.documents.quantisation import Quantisation
from exporters.canonical import canonical_onnx
from exporters.onnx_writer import BF16_OPSET, OPSET
from exporters.quantisation import quantised_graph
from exporters.targets.packages import one_line
from exporters.targets.target import TargetFailed

DTYPES: dict[Precision, str] = {"f16": "float16", "bf16": "bfloat16"}
"""Precision → element type; f32 is that of the canonical graph."""

HEADROOM = 2.0
"""A node stays float32 from 1 / HEADROOM of the range on: other inputs may reach farther."""


@dataclass(frozen=True)
class Plan:
    """What an engine's own model is made by. float32: the nodes that stay so, in graph order.

    quantisation: of an engine in int8. embed: what is in it besides the network.
    rewrites: of the canonical graph, before anything else, by name. opset: None for datac's choice.
    """

    precision: Precision
    float32: tuple[str, ...] = ()
    quantisation: Quantisation | None = None
    embed: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()
    opset: int | None = None

    @property
    def one_size(self) -> bool:
        """Whether what it makes holds for the network's own input size alone."""
        return any(needs_own_size(REWRITES[name]) for name in self.rewrites)


def plan_for(
    graph: Graph, precision: Precision, inputs: Iterable[NDArray[np.floating[Any]]]
) -> Plan:
    """Scan the graph, canonical or rewritten, in float64 on the inputs, (N, C, H, W) each."""
    if precision != "f16":
        return Plan(precision)  # the others reach as far as float32
    reached = ranges(graph, inputs)
    limit = LARGEST["float16"] / HEADROOM
    far = {name for name, size in reached.items() if size > limit}
    far |= {user for name in far for user in graph.users(name)}
    far |= {node.name for node in graph.nodes() if _has_large_weights(graph, node, limit)}
    order = [node.name for node in graph.nodes() if not isinstance(node.op, Input)]
    return Plan(precision, tuple(name for name in order if name in far))


def _has_large_weights(graph: Graph, node: Node, limit: float) -> bool:
    return any(np.abs(graph.weights[name]).max() > limit for name in node.weight_specs())


def ranges(graph: Graph, inputs: Iterable[NDArray[np.floating[Any]]]) -> dict[str, float]:
    """Node → the largest magnitude of its values."""
    reached: dict[str, float] = {node.name: 0.0 for node in graph.inputs}

    def note(
        node: Node, weights: Mapping[str, Array], operands: tuple[Array, ...], result: Array
    ) -> Array:
        del weights, operands
        reached[node.name] = max(reached.get(node.name, 0.0), float(np.abs(result).max()))
        return result

    run = Interpreter(graph)
    for x in inputs:
        run.run({INPUT: x}, after=note)
        for node in graph.inputs:
            reached[node.name] = max(reached[node.name], float(np.abs(x).max()))
    return reached


def rewritten(graph: Graph, plan: Plan) -> Graph:
    """The canonical graph with the rewrites of the plan."""
    return apply(graph, [REWRITES[name] for name in plan.rewrites])[0] if plan.rewrites else graph


def deployed(graph: Graph, plan: Plan) -> Graph:
    """The canonical graph as the engine computes it: rewritten, in its types, with what they hold.

    TargetFailed for a weight that its type cannot hold, where the plan does not keep it, and for a
    plan in int8 that is another network's.
    """
    graph = rewritten(graph, plan)
    if plan.precision == "f32":
        return graph
    try:
        if plan.precision == "int8":
            if plan.quantisation is None:
                raise ValueError("its side-car does not say how it was quantised")
            return quantised_graph(graph, plan.quantisation)
        return typed(graph, DTYPES[plan.precision], keep=plan.float32)
    except ValueError as error:
        raise TargetFailed(str(error)) from error


def own_model(
    graph: Graph, plan: Plan, genotype: Genotype, network: Network, *, typed: bool = True
) -> onnx.ModelProto:
    """The ONNX of an engine that starts from another than the canonical one; sizes left open.

    typed: its precision stands in it; else the target is told.
    """
    opset = plan.opset or (BF16_OPSET if typed and plan.precision == "bf16" else OPSET)
    made = deployed(graph, plan) if typed else rewritten(graph, plan)
    try:
        whole = embedded(made, network.preprocessing, plan.embed)
        return canonical_onnx(whole, genotype, network, opset)
    except ValueError as error:
        raise TargetFailed(str(error)) from error
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TargetFailed(f"opset {opset} cannot hold this model: {one_line(error)}") from error


def has_own_model(plan: Plan, typed: Collection[Precision]) -> bool:
    """Whether an engine of that plan starts from another model than the canonical one."""
    return bool(plan.embed or plan.rewrites or plan.opset) or plan.precision in typed
