"""The graph IR: typed nodes over a networkx MultiDiGraph, and weights beside it.

A node is its value: every operation yields one tensor. The key of an edge is the operand's slot,
so the same value may stand in several slots. Nobody else touches the networkx graph; every edit
goes through `add`, `set_op`, `replace_uses` and `remove`.

A node is kept as it was read (`read` in its record), and so is the order of all, because a compile
reads each hundreds of times. Whatever edits a record or an edge forgets what that makes untrue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx

from compiler.ops import Cost, Input, Op, TensorType, WeightSpec

if TYPE_CHECKING:  # numpy would take a fifth of the time of `datac show`
    import numpy as np
    from numpy.typing import NDArray

Weights = dict[str, "NDArray[np.generic]"]


@dataclass(frozen=True)
class Origin:
    """Which part of the architecture a node comes from.

    `part` names what is not a path: `stem`, `head/classifier`, or within a cell `preprocess0`.
    """

    part: str = ""
    cell: int | None = None
    node: int | None = None
    path: int | None = None
    operation: str | None = None

    def __str__(self) -> str:
        pieces = [
            f"{word}{number}"
            for word, number in (("cell", self.cell), ("node", self.node), ("path", self.path))
            if number is not None
        ]
        pieces += [piece for piece in (self.operation, self.part) if piece]
        return "/".join(pieces)


@dataclass(frozen=True)
class Node:
    """One operation. `name` is unique; its weights are `name` with dots, then the suffix."""

    name: str
    op: Op
    operands: tuple[str, ...]
    type: TensorType
    origin: tuple[Origin, ...]

    @property
    def label(self) -> str:
        """Origin and local name: what ONNX and reports call this node.

        After a merge the first origin leads.
        """
        if not self.origin or not str(self.origin[0]):
            return self.name
        return f"{self.origin[0]}/{self.name.rsplit('/', 1)[-1]}"

    def weight_name(self, suffix: str) -> str:
        """`cell3/node2/path0/norm0` and `bias` → `cell3.node2.path0.norm0.bias`."""
        return f"{self.name.replace('/', '.')}.{suffix}"

    def weight_specs(self) -> dict[str, WeightSpec]:
        """Full name → specification of each of its tensors."""
        return {self.weight_name(key): spec for key, spec in self.op.weights().items()}


class Graph:
    """Nodes, named outputs, and weights (name → array; empty until weights are bound)."""

    def __init__(self) -> None:
        self._net: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        self._added = 0
        self._sorted: tuple[str, ...] | None = None
        self.outputs: dict[str, str] = {}
        self.weights: Weights = {}

    # ---- reading -------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return name in self._net

    def __len__(self) -> int:
        return len(self._net)

    def __getitem__(self, name: str) -> Node:
        record = self._net.nodes[name]
        if "read" not in record:
            sources = self._slots(name)
            operands = tuple(sources[slot] for slot in sorted(sources))
            record["read"] = Node(name, record["op"], operands, record["type"], record["origin"])
        found: Node = record["read"]
        return found

    def operands(self, name: str) -> tuple[str, ...]:
        """The names of its operands, by slot."""
        return self[name].operands

    def slots(self, name: str) -> tuple[int, ...]:
        """The slots that its operands stand in: 0, 1, ... where the graph is whole."""
        return tuple(sorted(self._slots(name)))

    def _slots(self, name: str) -> dict[int, str]:
        """Slot → source."""
        return {slot: source for source, slots in self._net.pred[name].items() for slot in slots}

    def circle(self) -> list[str]:
        """The nodes of one circle, if there is any; then `nodes` has no order to give."""
        try:
            self._order()
        except nx.NetworkXUnfeasible:
            return [source for source, _, _ in nx.find_cycle(self._net)]
        return []

    def users(self, name: str) -> tuple[str, ...]:
        """The nodes that read it, one entry for each slot, in order of addition."""
        edges = self._net.out_edges(name, keys=True)
        order = sorted(edges, key=lambda edge: (self._net.nodes[edge[1]]["order"], edge[2]))
        return tuple(user for _, user, _ in order)

    def is_read_once(self, name: str) -> bool:
        """Whether one slot of one node reads it, and it is no output."""
        return len(self.users(name)) == 1 and name not in self.outputs.values()

    def is_read(self, name: str) -> bool:
        """Whether a node reads it, or it is an output."""
        return bool(self._net.succ[name]) or name in self.outputs.values()

    def nodes(self) -> Iterator[Node]:
        """Every node after its operands, otherwise in order of addition."""
        return (self[name] for name in self._order())

    def _order(self) -> tuple[str, ...]:
        if self._sorted is None:
            place = dict(self._net.nodes(data="order"))
            if all(place[source] < place[reader] for source, reader in self._net.edges()):
                order = iter(place)  # as most graphs are, and ten times as fast as sorting
            else:
                order = nx.lexicographical_topological_sort(self._net, key=place.__getitem__)
            self._sorted = tuple(order)
        return self._sorted

    @property
    def inputs(self) -> list[Node]:
        """The input nodes."""
        return [node for node in self.nodes() if isinstance(node.op, Input)]

    def operand_types(self, node: Node) -> tuple[TensorType, ...]:
        """The types of a node's operands."""
        return tuple(self._net.nodes[name]["type"] for name in node.operands)

    def weight_specs(self) -> dict[str, WeightSpec]:
        """Full name → specification of every tensor that the graph needs, in order of nodes."""
        return {key: spec for node in self.nodes() for key, spec in node.weight_specs().items()}

    def cost(self) -> Cost:
        """Parameters and multiply-adds of the whole."""
        return sum((node.op.cost(*self.operand_types(node)) for node in self.nodes()), start=Cost())

    # ---- the four edits ------------------------------------------------------------------

    def add(
        self, name: str, op: Op, *operands: str, origin: Origin | tuple[Origin, ...] = ()
    ) -> str:
        """Add a node; its type is inferred. ValueError where a name is taken or missing."""
        if name in self._net:
            raise ValueError(f"the graph already has a node {name}")
        for operand in operands:
            if operand not in self._net:
                raise ValueError(f"{name} reads {operand}, which does not exist")
        origins = (origin,) if isinstance(origin, Origin) else origin
        types = [self._net.nodes[operand]["type"] for operand in operands]
        try:
            result = op.infer(*types)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        self._net.add_node(name, op=op, type=result, origin=origins, order=self._added)
        self._added += 1
        self._sorted = None
        for slot, operand in enumerate(operands):
            self._net.add_edge(operand, name, key=slot)
        return name

    def set_op(self, name: str, op: Op, origin: tuple[Origin, ...]) -> None:
        """Change what a node computes from its operands; the type must stay.

        Weights that the new operation shares with the old by name stay; the caller sets the rest.
        """
        record = self._net.nodes[name]
        types = [self._net.nodes[operand]["type"] for operand in self.operands(name)]
        if op.infer(*types) != record["type"]:
            raise ValueError(f"{name} would change its type from {record['type']}")
        record.update(op=op, origin=origin)
        record.pop("read", None)

    def replace_uses(self, old: str, new: str) -> None:
        """Whoever reads `old` reads `new`, outputs included; `new` itself keeps its operands."""
        if self._net.nodes[old]["type"] != self._net.nodes[new]["type"]:
            raise ValueError(
                f"{new} ({self._net.nodes[new]['type']}) cannot stand for {old} "
                f"({self._net.nodes[old]['type']})"
            )
        for _, user, slot in list(self._net.out_edges(old, keys=True)):
            if user != new:
                self._net.remove_edge(old, user, key=slot)
                self._net.add_edge(new, user, key=slot)
                self._net.nodes[user].pop("read", None)
                self._sorted = None
        self.outputs = {key: new if at == old else at for key, at in self.outputs.items()}

    def remove(self, name: str) -> None:
        """Remove a node that nobody reads, and its weights."""
        if self.is_read(name):
            raise ValueError(f"{name} is still read")
        for key in self[name].weight_specs():
            self.weights.pop(key, None)
        self._net.remove_node(name)
        self._sorted = None

    def remove_dead(self) -> None:
        """Remove what reaches no output; inputs stay."""
        for node in reversed(list(self.nodes())):
            if not self.is_read(node.name) and not isinstance(node.op, Input):
                self.remove(node.name)

    # ---- results and copies --------------------------------------------------------------

    def set_output(self, key: str, name: str) -> None:
        """The output `key` of the graph is the value of `name`."""
        if name not in self._net:
            raise ValueError(f"output {key} reads {name}, which does not exist")
        self.outputs[key] = name

    def copy(self) -> Graph:
        """Its own nodes; the arrays are shared, since nobody writes into one."""
        twin = Graph()
        twin._net = self._net.copy()
        twin._added = self._added
        twin._sorted = self._sorted
        twin.outputs = dict(self.outputs)
        twin.weights = dict(self.weights)
        return twin
