"""genotype + network → graph."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.candidates import CANDIDATES, NONE, Form
from compiler.cell import CellPlan, preprocess, scope_of
from compiler.graph import Graph, Origin
from compiler.ops import Concat, Dropout, DropPath, Identity, Input, Scale, Sum
from compiler.scope import Scope
from compiler.skeletons import SKELETONS
from datac.documents.genotype import FIRST_NODE, Cell, Genotype, Node
from datac.documents.network import Network
from datac.documents.sentences import nearest
from datac.errors import BadInput

INPUT, OUTPUT, AUXILIARY = "input", "logits", "auxiliary"
IMAGE, CLASSES = "image", "classes"
"""Input and output of an engine that has more in it: `compiler.embed`."""


@dataclass(frozen=True)
class _Child:
    """What every cell of a child is lowered with."""

    genotype: Genotype
    form: Form
    training: bool


def lower(
    genotype: Genotype,
    network: Network,
    *,
    form: Form = "child",
    training: bool = False,
    keep_unread: bool = False,
) -> Graph:
    """The child network of a genotype: input `input` (N, C, H, W), output `logits`.

    What reaches no output is left out: nodes that nobody uses, a cell's input that no path reads,
    cells that no other reads. `keep_unread` keeps the latter two, which published counts include;
    such a graph is for counting, `verify` refuses it. With `training` the graph also holds what
    acts only then (dropout, path dropout) and the output `auxiliary` where the map is large enough
    for the auxiliary head; the names of weights are the same either way.

    Any input size works, down to 1x1. Raises BadInput where the genotype names an operation that
    is not a candidate.
    """
    check_operations(genotype)
    graph = Graph()
    x = graph.add(INPUT, Input(("N", *network.input)), origin=Origin(part=INPUT))
    skeleton, scope = SKELETONS[network.skeleton], Scope(graph)
    child = _Child(genotype, form, training)
    states = skeleton.stem(scope.inside("stem"), x, network)
    for plan in skeleton.plan(network):
        states = (states[1], _cell(scope, plan, states, child))
        if training and plan.index == skeleton.auxiliary_at(network):
            _auxiliary(scope, states[1], x, network)
    graph.set_output(OUTPUT, skeleton.head(scope.inside("head"), states[1], x, network))
    if not training:
        _drop_training_only(graph)
    if not keep_unread:
        graph.remove_dead()
    return graph


def check_operations(genotype: Genotype) -> None:
    """BadInput for the first path whose operation is not a candidate."""
    for kind, cell in genotype.cells.items():
        for number, node in cell.numbered():
            for path in node.paths:
                if path.operation not in CANDIDATES:
                    raise BadInput(_unknown(kind, number, path.operation))


def _unknown(kind: str, number: int, operation: str) -> str:
    if operation == NONE:
        return f'{kind} cell, node {number}: "none" is no path; leave it out'
    hint = nearest(operation, CANDIDATES)
    known = "datac show --operations lists all, docs/add-an-operation.md says how to add one"
    return f'{kind} cell, node {number}: unknown operation "{operation}"{hint} ({known})'


def _cell(scope: Scope, plan: CellPlan, states: tuple[str, str], child: _Child) -> str:
    at = scope_of(scope, plan)
    cell = child.genotype.cells[plan.kind]
    used = cell.used()
    values = dict(enumerate(preprocess(at, plan, states, child.form)))
    for number, node in cell.numbered():
        if number in used:
            values[number] = _node(at, plan, number, node, values, child)
    return at.add("concat", Concat(), *(values[number] for number in cell.output))


def _node(
    scope: Scope, plan: CellPlan, number: int, node: Node, values: dict[int, str], child: _Child
) -> str:
    at = scope.inside(f"node{number}", node=number)
    results = []
    for index, path in enumerate(node.paths):
        inner = at.inside(f"path{index}", path=index, operation=path.operation)
        place = plan.place(path.input, child.form)
        result = CANDIDATES[path.operation](inner, values[path.input], place)
        if child.training and not isinstance(scope.graph[result].op, Identity):
            result = inner.add("drop", DropPath(), result)
        results.append(result)
    total = at.add("sum", Sum(), *results)
    if child.genotype.aggregation == "mean":
        total = at.add("mean", Scale(1 / len(results)), total)
    return total


def _auxiliary(scope: Scope, features: str, x: str, network: Network) -> None:
    height, width = scope.type(features).shape[2:]
    skeleton = SKELETONS[network.skeleton]
    if min(int(height), int(width)) >= skeleton.smallest_auxiliary_map:
        head = skeleton.auxiliary(scope.inside("auxiliary"), features, x, network)
        scope.graph.set_output(AUXILIARY, head)


def _drop_training_only(graph: Graph) -> None:
    for node in list(graph.nodes()):
        if isinstance(node.op, Dropout | DropPath):
            graph.replace_uses(node.name, node.operands[0])
            graph.remove(node.name)


def used_paths(genotype: Genotype, plans: tuple[CellPlan, ...]) -> list[Origin]:
    """The origin of every path of the genotype's used nodes, cell by cell.

    A cell that no later one reads has its paths here too, though `lower` leaves it out.
    """
    return [
        Origin(cell=plan.index, node=number, path=index, operation=path.operation)
        for plan in plans
        for number, node in _used(genotype.cells[plan.kind])
        for index, path in enumerate(node.paths)
    ]


def _used(cell: Cell) -> list[tuple[int, Node]]:
    used = cell.used()
    return [(number, node) for number, node in cell.numbered() if number in used]


__all__ = [
    "AUXILIARY",
    "CLASSES",
    "FIRST_NODE",
    "IMAGE",
    "INPUT",
    "OUTPUT",
    "check_operations",
    "lower",
    "used_paths",
]
