"""Values that go astray: another input, a path too few or too many, another order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.emitter import Emitter
from compiler.graph import Graph
from compiler.interpreter import Array
from compiler.ops import Concat, Identity, Scale, Sum
from compiler.places import boundaries, place_name
from exporters.faults.fault import Fault, Site, entries, rebuilt, with_op


@dataclass(frozen=True)
class Mean(Sum):
    """The mean of the paths instead of their sum."""

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """The sum by their number."""
        return super().compute(weights, *operands) / len(operands)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """The chain of additions, and a product."""
        import numpy as np

        total = operands[0]
        for index, operand in enumerate(operands[1:], start=1):
            total = emit.node("Add", [total, operand], part=f"add{index}")
        factor = emit.constant(np.array(1 / len(operands), np.float32), "factor")
        return emit.node("Mul", [total, factor])


def other_input(site: Site) -> Graph | None:
    """A path of a cell reads another value of the same type, made before it."""
    graph, place = site.graph, place_name(site.node)
    if not site.node.origin or site.node.origin[0].path is None:
        return None
    reads = entries(graph, place)
    if not reads or reads[0][0] != site.node.name:
        return None
    right = graph.operands(site.node.name)[reads[0][1]]
    order = [node.name for node in graph.nodes()]
    cell = site.node.origin[0].cell
    others = [
        name
        for name in boundaries(graph)
        if graph[name].type == graph[right].type
        and name != right
        and order.index(name) < order.index(site.node.name)
        and graph[name].origin[0].cell == cell
        and graph[name].origin[0].path is None
    ]
    if not others:
        return None
    wrong = others[int(site.draw.integers(len(others)))]
    changed = {
        name: tuple(wrong if operand == right else operand for operand in graph.operands(name))
        for name, _ in reads
    }
    return rebuilt(graph, changed)


def missing_path(site: Site) -> Graph | None:
    """A node sums one path too few."""
    operands = site.node.operands
    if not isinstance(site.node.op, Sum) or len(operands) < 2:
        return None
    gone = int(site.draw.integers(len(operands)))
    return rebuilt(site.graph, {site.node.name: (*operands[:gone], *operands[gone + 1 :])})


def doubled_path(site: Site) -> Graph | None:
    """A node sums one path twice."""
    operands = site.node.operands
    if not isinstance(site.node.op, Sum):
        return None
    again = operands[int(site.draw.integers(len(operands)))]
    return rebuilt(site.graph, {site.node.name: (*operands, again)})


def mean_for_sum(site: Site) -> Graph | None:
    """The mean where the sum is meant."""
    fits = isinstance(site.node.op, Sum) and len(site.node.operands) > 1
    return with_op(site, Mean()) if fits else None


def other_order(site: Site) -> Graph | None:
    """Two values of a concatenation have changed places."""
    operands = list(site.node.operands)
    if not isinstance(site.node.op, Concat) or len({*operands}) < 2:
        return None
    types = [site.graph[name].type for name in operands]
    if types[0] != types[-1] or operands[0] == operands[-1]:
        return None
    operands[0], operands[-1] = operands[-1], operands[0]
    return rebuilt(site.graph, {site.node.name: tuple(operands)})


def zero_skip(site: Site) -> Graph | None:
    """A skip that lets nothing through."""
    return with_op(site, Scale(0.0)) if isinstance(site.node.op, Identity) else None


WIRING: dict[str, Fault] = {
    "other input": Fault("wiring", other_input),
    "path missing": Fault("wiring", missing_path),
    "path doubled": Fault("wiring", doubled_path),
    "mean for sum": Fault("wiring", mean_for_sum),
    "other order": Fault("wiring", other_order),
    "zero skip": Fault("wiring", zero_skip),
}
