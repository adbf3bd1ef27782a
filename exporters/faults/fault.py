"""What a fault is: one thing that goes wrong in an export, done to a graph on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.interpreter import Array
from compiler.ops import Input, Op
from compiler.places import place_name


@dataclass(frozen=True)
class Site:
    """Where a fault is to be done. graph: with weights, batch norms not folded.

    values: what every node computes on some inputs, for faults that depend on it.
    """

    graph: Graph
    node: Node
    values: Mapping[str, Array] = field(repr=False)
    draw: np.random.Generator = field(repr=False)


Damage = Callable[[Site], Graph | None]
"""A damaged copy of the site's graph; None where the fault does not fit the site's node."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    family: weights, attributes, wiring, numerics or input. precisions: where it is a fault at all:
    float16 weights are none in a float16 engine.
    """

    family: str
    damage: Damage
    precisions: tuple[str, ...] = ("f32", "tf32", "bf16", "f16")


@dataclass(frozen=True)
class Damaged:
    """A graph with one fault in it, and the place that is to be named for it."""

    graph: Graph
    place: str


def inject(
    fault: Fault,
    graph: Graph,
    values: Mapping[str, Array],
    draw: np.random.Generator,
) -> Damaged | None:
    """The fault at a node drawn from all that it fits; None where it fits none."""
    nodes = list(graph.nodes())
    for index in draw.permutation(len(nodes)):
        site = Site(graph, nodes[index], values, draw)
        damaged = fault.damage(site)
        if damaged is not None:
            return Damaged(damaged, place_name(site.node))
    return None


def with_weight(site: Site, suffix: str, array: NDArray[np.generic]) -> Graph:
    """The graph with another value for one weight of the site's node."""
    copy = site.graph.copy()
    name = site.node.weight_name(suffix)
    copy.weights[name] = array.astype(copy.weights[name].dtype)
    return copy


def with_op(site: Site, op: Op) -> Graph:
    """The graph with another operation at the site's node."""
    copy = site.graph.copy()
    copy.set_op(site.node.name, op, site.node.origin)
    return copy


def rebuilt(
    graph: Graph,
    operands: Mapping[str, tuple[str, ...]],
    inserted: Mapping[str, tuple[str, Op]] | None = None,
) -> Graph:
    """The graph where some nodes read other operands; what nobody reads any more is gone.

    inserted: name of a value → (name of a new node, operation) that stands behind it for all.
    """
    inserted = inserted or {}
    result = Graph()
    stands_for: dict[str, str] = {}
    for node in graph.nodes():
        reads = operands.get(node.name, node.operands)
        result.add(node.name, node.op, *(stands_for.get(x, x) for x in reads), origin=node.origin)
        if node.name in inserted:
            name, op = inserted[node.name]
            stands_for[node.name] = result.add(name, op, node.name, origin=node.origin)
    for key, name in graph.outputs.items():
        result.set_output(key, stands_for.get(name, name))
    result.weights = dict(graph.weights)
    result.remove_dead()
    return result


def entries(graph: Graph, place: str) -> list[tuple[str, int]]:
    """(node, slot) by which a place reads other places or inputs."""
    names = {node.name: place_name(node) for node in graph.nodes()}
    return [
        (node.name, slot)
        for node in graph.nodes()
        if names[node.name] == place and not isinstance(node.op, Input)
        for slot, operand in enumerate(node.operands)
        if names[operand] != place
    ]
