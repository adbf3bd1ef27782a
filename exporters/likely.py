"""What kind of fault a wrong place looks like: the one that, done on purpose, gives its values.

Only faults that leave nothing to chance can be recognised so: a padding, a missing activation, an
epsilon. Which weights are stale, or which bit has flipped, nobody can tell from a value.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler.graph import Graph
from compiler.interpreter import Interpreter
from compiler.ops import Sum
from compiler.places import place_name, region
from exporters.canonical import canonical_graph
from exporters.faults import FAULTS
from exporters.faults.fault import Site, rebuilt
from exporters.places import TOLERATED, PlaceError, Seen
from exporters.precision import Plan, deployed
from exporters.rounding import rms
from exporters.targets.target import TargetFailed

CERTAIN = (
    "padding counted",
    "dilation lost",
    "padding shifted",
    "corners aligned",
    "asymmetric resize",
    "nearest resize",
    "ReLU missing",
    "leaky ReLU",
    "max for average",
    "average for max",
    "shift missing",
    "mean for sum",
    "zero skip",
    "other order",
    "epsilon 1e-3",
    "epsilon lost",
    "lost shift",
    "lost scale",
    "transposed kernel",
    "zero ring",
    "float16 weights",
    "int8 weights",
    "wrong reciprocal",
)
"""The faults that leave nothing to chance. Of a sum's paths each is tried missing, and doubled."""


def likely_kind(graph: Graph, plan: Plan, error: PlaceError, seen: Seen) -> str | None:
    """The first fault that explains the value within its tolerance.

    graph: of the network, batch norms not folded. seen: what the engine computed.
    """
    if not error.shape or not np.isfinite(error.rms):
        return None
    found = seen[error.value].astype(np.float64)
    for name, damaged in _damaged(graph, error.place):
        try:
            made = deployed(canonical_graph(damaged), plan)
        except TargetFailed:
            continue
        if error.value not in made:
            continue
        part = region(made, error.value, seen.keys())
        given = {read: seen[read] for read in part.reads}
        wrong = Interpreter(made, nodes=part.nodes).run(
            given, wanted=[error.value], names=part.nodes
        )[error.value]
        if wrong.shape == found.shape and rms(found - wrong) <= TOLERATED * error.predicted:
            return name
    return None


def _damaged(graph: Graph, place: str) -> Iterator[tuple[str, Graph]]:
    nodes = [node for node in graph.nodes() if place_name(node) == place]
    for name in CERTAIN:
        for node in nodes:
            damaged = FAULTS[name].damage(Site(graph, node, {}, np.random.default_rng(0)))
            if damaged is not None:
                yield name, damaged
    for node in nodes:
        if isinstance(node.op, Sum) and len(node.operands) > 1:
            for index, operand in enumerate(node.operands):
                fewer = (*node.operands[:index], *node.operands[index + 1 :])
                yield "path missing", rebuilt(graph, {node.name: fewer})
                yield "path doubled", rebuilt(graph, {node.name: (*node.operands, operand)})
