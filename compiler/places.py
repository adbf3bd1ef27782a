"""A graph cut into places: the paths, sums and other parts that people and reports name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from compiler.graph import Graph, Node
from compiler.ops import ArgMax, Cast, Input, Quantize


def place_name(node: Node) -> str:
    """`cell3/node2/path0/sep_conv_3x3`; a node without an origin is a place of its own.

    After a merge: the first of several.
    """
    return str(node.origin[0]) if node.origin and str(node.origin[0]) else node.name


def boundaries(graph: Graph) -> tuple[str, ...]:
    """The values that leave their place, in the graph's order: what another or an output reads.

    And every value that is rounded to int8, which ends what a runtime can fuse.

    No class numbers: between equal logits either answer is right.
    No casts: a runtime that computes in their type by itself has none. What reads a cast reads
    what stands before it.
    """
    names = {node.name: place_name(node) for node in graph.nodes()}
    outputs = {*graph.outputs.values()}

    def readers(name: str) -> set[str]:
        found = set()
        for user in graph.users(name):
            cast = isinstance(graph[user].op, Cast) and user not in outputs
            found |= readers(user) if cast else {names[user]}
        return found

    return tuple(
        node.name
        for node in graph.nodes()
        if not isinstance(node.op, Input | Cast | ArgMax)
        and (
            isinstance(node.op, Quantize)
            or node.name in outputs
            or readers(node.name) - {names[node.name]}
        )
    )


@dataclass(frozen=True)
class Region:
    """The nodes between one value and the seen values that it comes from."""

    value: str
    nodes: frozenset[str]
    reads: frozenset[str]


def region(graph: Graph, value: str, seen: Collection[str]) -> Region:
    """Back from `value` until each way has met a value in `seen`, or an input of the graph."""
    nodes: set[str] = set()
    reads: set[str] = set()
    left = [value]
    while left:
        name = left.pop()
        if name in nodes:
            continue
        if isinstance(graph[name].op, Input) or (name in seen and name != value):
            reads.add(name)
        else:
            nodes.add(name)
            left += graph.operands(name)
    return Region(value, frozenset(nodes), frozenset(reads))
