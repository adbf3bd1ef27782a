"""What a graph costs, from the graph alone: parameters, multiply-adds, bytes moved, peak memory.

Bytes are those of a runtime that computes node by node and fuses nothing: every node reads its
operands and weights and writes its result once. A runtime that fuses moves fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.graph import Graph, Node
from compiler.ops import Input, TensorType
from compiler.places import place_name

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1, "int32": 4, "int64": 8}
"""Of an element, by its type as numpy spells it."""


@dataclass(frozen=True)
class NodeCost:
    """One node, for a batch. place: the part of the network it belongs to."""

    name: str
    place: str
    parameters: int
    multiply_adds: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int

    @property
    def moved_bytes(self) -> int:
        """Operands, weights and result."""
        return self.read_bytes + self.weight_bytes + self.written_bytes


@dataclass(frozen=True)
class GraphCost:
    """Of a whole graph, for a batch. Inputs move nothing themselves, and are there from the start.

    peak_bytes: the most that values need at one time, in the graph's order, each given up behind
    its last reader; weights are not in it. peak_at: the node that is computed then.
    """

    nodes: tuple[NodeCost, ...]
    peak_bytes: int
    peak_at: str

    @property
    def parameters(self) -> int:
        """Trainable ones."""
        return sum(node.parameters for node in self.nodes)

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and linear layers."""
        return sum(node.multiply_adds for node in self.nodes)

    @property
    def moved_bytes(self) -> int:
        """Of all nodes."""
        return sum(node.moved_bytes for node in self.nodes)

    @property
    def weight_bytes(self) -> int:
        """Of all weights and buffers."""
        return sum(node.weight_bytes for node in self.nodes)


def graph_cost(graph: Graph, batch: int = 1) -> GraphCost:
    """Every node that computes something, and the whole."""
    nodes = tuple(
        _node_cost(graph, node, batch) for node in graph.nodes() if not isinstance(node.op, Input)
    )
    return GraphCost(nodes, *_peak(graph, batch))


def tensor_bytes(type_: TensorType, batch: int = 1) -> int:
    """Of a value; every size that is only known later is the batch."""
    size = BYTES[type_.dtype]
    for edge in type_.shape:
        size *= batch if isinstance(edge, str) else edge
    return size


def _node_cost(graph: Graph, node: Node, batch: int) -> NodeCost:
    operands = graph.operand_types(node)
    cost = node.op.cost(*operands)
    weights = (TensorType(spec.shape, spec.dtype) for spec in node.op.weights().values())
    return NodeCost(
        name=node.name,
        place=place_name(node),
        parameters=cost.parameters,
        multiply_adds=batch * cost.multiply_adds,
        read_bytes=sum(tensor_bytes(operand, batch) for operand in operands),
        written_bytes=tensor_bytes(node.type, batch),
        weight_bytes=sum(map(tensor_bytes, weights)),
    )


def _peak(graph: Graph, batch: int) -> tuple[int, str]:
    """(bytes, node) where the values that are alive need the most memory."""
    order = list(graph.nodes())
    last = {operand: node.name for node in order for operand in node.operands}
    kept = {*graph.outputs.values()}
    alive = sum(tensor_bytes(node.type, batch) for node in graph.inputs)
    peak, at = alive, next((node.name for node in graph.inputs), "")
    for node in order:
        if isinstance(node.op, Input):
            continue
        alive += tensor_bytes(node.type, batch)
        if alive > peak:
            peak, at = alive, node.name
        for operand in dict.fromkeys(node.operands):
            if last[operand] == node.name and operand not in kept:
                alive -= tensor_bytes(graph[operand].type, batch)
    return peak, at


def by_part(nodes: Iterable[NodeCost], depth: int = 1) -> dict[str, list[NodeCost]]:
    """`cell3/node2/path0/...` cut to `depth` segments → its nodes; outside of cells, to one."""
    parts: dict[str, list[NodeCost]] = {}
    for node in nodes:
        segments = node.place.split("/")
        cut = depth if segments[0].startswith("cell") else 1
        parts.setdefault("/".join(segments[:cut]), []).append(node)
    return parts
