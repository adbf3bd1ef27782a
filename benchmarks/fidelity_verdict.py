"""Whether a search decided anything, whichever its method.

`datac derive` judges searches by DATA alone, since what it prints are probabilities of DATA's
draws. Three of its four criteria ask for logits and choices only: have the logits gone farther than
chance would have led them, is the choice older than the last epoch, has the cell collapsed into
skips and pools. The fourth, whether one step can change the choice, is asked here by taking that
step: each logit of a node up and down by a mean step of the last epoch, then the method's own
derivation. All four hold for every method whose cells are derived from logits; none for `random`,
whose cells are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datac.documents.derivation import Move
from datac.documents.genotype import Cell, CellKind
from datac.documents.genotype import Path as CellPath
from searcher.certificate import certify, travel_ratio
from searcher.course import Course, read_course
from searcher.methods import Method
from searcher.verdict import undecided, weightless_share


@dataclass(frozen=True)
class Node:
    """What `searcher/verdict.py` asks of a node."""

    node: int
    smallest_move: Move | None
    last_step: float
    travel_ratio: float
    chosen_since: int


@dataclass(frozen=True)
class Evidence:
    """What it asks of a cell."""

    weightless_share: float
    nodes: tuple[Node, ...]


def reasons_against(run: Path, method: Method) -> tuple[str, ...]:
    """A sentence for each reason against "decided", of a finished search; BadInput for others."""
    course = read_course(run)
    if course.result.method == "data":
        return certify(course, 1).derivation.reasons
    return judged(course, method)


def judged(course: Course, method: Method) -> tuple[str, ...]:
    """Of any method whose cells are derived from logits."""
    ends = [_derived(course, method, epoch) for epoch in range(len(course.epochs))]
    cells = {
        kind: Evidence(
            weightless_share([path for node in cell.nodes for path in node.paths]),
            tuple(_node(course, method, kind, node, ends) for node, _ in cell.numbered()),
        )
        for kind, cell in ends[-1].items()
    }
    return undecided(cells, course.epochs[-1])


Cells = dict[CellKind, Cell]


def _derived(course: Course, method: Method, epoch: int) -> Cells:
    return _cells(method, {kind: logits[epoch] for kind, logits in course.logits.items()})


def _cells(method: Method, logits: dict[CellKind, NDArray[np.float64]]) -> Cells:
    return method.derive({kind: torch.from_numpy(each) for kind, each in logits.items()}).cells


def _node(course: Course, method: Method, kind: CellKind, node: int, ends: list[Cells]) -> Node:
    logits, layout = course.logits[kind], course.layout
    columns = layout.of_node(node)
    way = np.stack([logits[:, c.group, c.index] for c in columns], axis=-1)
    steps = np.diff(way, axis=0, prepend=0.0)
    step = float(np.abs(steps[-1]).max()) / course.steps_of_last_epoch
    return Node(
        node=node,
        smallest_move=next(_changes(course, method, kind, node, step), None),
        last_step=step,
        travel_ratio=travel_ratio(node, logits, layout),
        chosen_since=_since(course, kind, node, ends),
    )


def _changes(
    course: Course, method: Method, kind: CellKind, node: int, step: float
) -> Iterator[Move]:
    """The moves by one step, of one logit of the node, that change its paths."""
    last = {each: logits[-1] for each, logits in course.logits.items()}
    chosen = _paths(_cells(method, last), kind, node)
    for column in course.layout.of_node(node):
        for by in (step, -step):
            moved = last[kind].copy()
            moved[column.group, column.index] += by
            if _paths(_cells(method, {**last, kind: moved}), kind, node) != chosen:
                yield Move(operation=column.operation, input=column.input, by=by)


def _since(course: Course, kind: CellKind, node: int, ends: list[Cells]) -> int:
    """The first epoch of the last unbroken row of epochs that end with this choice."""
    chosen = _paths(ends[-1], kind, node)
    return course.agreeing_since(_paths(cells, kind, node) == chosen for cells in reversed(ends))


def _paths(cells: Cells, kind: CellKind, node: int) -> tuple[CellPath, ...]:
    return dict(cells[kind].numbered())[node].paths
