"""Whether a search decided anything: each criterion with the calculation behind its threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from compiler.candidates import CANDIDATES, Place, candidate_graph
from compiler.ops.op import TensorType
from datac.documents.derivation import Move
from datac.documents.genotype import CellKind, Path

CHANCE_TRAVEL_RATIO = 2.0
"""A node is no clearer than chance where the squared way of its n logits from equality is less than
this many times the sum of its epochs' squared ways.

Adam's steps are about as long where there is only noise as where there is a gradient, so logits
that learn nothing walk at random and the distribution still leaves the uniform one; an entropy
alone cannot tell how much of that is chance. Of a random walk the squared way is, in the mean, the
sum of the squared steps: the ratio is 1, with n - 1 degrees of freedom distributed as χ² over its
mean, and above 2 once in 70 for the smallest node of the published space (n = 15) and once in
2,500 for the largest (n = 36). Logits that go one way reach a ratio of E after E epochs, so fewer
than three epochs after the warm-up never decide. (This is the variance ratio by which Lo and
MacKinlay, Rev. Financ. Stud. 1988, test for random walks.) In six searches by the default recipes,
whole or cut short, the nodes of a cell had ratios of 0.9 to 2.0 or all of them 2.2 to 6.9.
"""

COLLAPSED_SHARE = 0.75
"""A normal cell has collapsed where so large a share of its paths is without weights.

Skips and pools let the gradient through from the first step on, before anything with weights is
of use, so a search may end with nothing else (Liang et al., DARTS+, arXiv 1909.06035). Among the
thirteen published cells of `datac/published` the largest share is 11 of 16, 0.69. The reduction
cell is not judged: there a skip of an input is two convolutions, and those of DARTS hold nothing
but pools and skips, 8 of 8.
"""


class NodeEvidence(Protocol):
    """What is asked of a node, whichever rule derives it. `NodeDerivation` has it for DATA's."""

    @property
    def node(self) -> int:
        """Its number in the cell."""

    @property
    def smallest_move(self) -> Move | None:
        """Of one logit, to another choice."""

    @property
    def last_step(self) -> float:
        """A mean one of the last epoch, of the logit that went farthest."""

    @property
    def travel_ratio(self) -> float:
        """See CHANCE_TRAVEL_RATIO."""

    @property
    def chosen_since(self) -> int:
        """The epoch from whose end on the choice was the same."""


class CellEvidence(Protocol):
    """What is asked of a cell. `CellDerivation` has it."""

    @property
    def weightless_share(self) -> float:
        """Of its paths."""

    @property
    def nodes(self) -> Sequence[NodeEvidence]:
        """All of them."""


def undecided(cells: Mapping[CellKind, CellEvidence], epochs: int) -> tuple[str, ...]:
    """A sentence for each reason against "decided", node by node, of a search of so many epochs."""
    return tuple(
        f"{kind} cell{reason}"
        for kind, cell in cells.items()
        for reason in _reasons(kind, cell, epochs)
    )


def _reasons(kind: CellKind, cell: CellEvidence, epochs: int) -> Iterator[str]:
    for node in cell.nodes:
        for reason in _reasons_of_node(node, epochs):
            yield f", node {node.node}: {reason}"
    if kind == "normal" and cell.weightless_share >= COLLAPSED_SHARE:
        yield (
            f": {cell.weightless_share:.0%} of its paths are skips and pools, a collapse from "
            f"{COLLAPSED_SHARE:.0%} on"
        )


def _reasons_of_node(node: NodeEvidence, epochs: int) -> Iterator[str]:
    """Chance; one step; the last epoch.

    The two latter need no threshold: a step as long as the one that changes the choice was taken
    in the last epoch (its longest is no shorter than its mean), and what the last epoch changed,
    the next one may change again.
    """
    if node.travel_ratio < CHANCE_TRAVEL_RATIO:
        yield (
            f"the logits are where chance alone would have led them (ratio "
            f"{node.travel_ratio:.2f}, decided from {CHANCE_TRAVEL_RATIO:g} on)"
        )
    move = node.smallest_move
    if move is not None and abs(move.by) <= node.last_step:
        where = move.operation if move.input is None else f"{move.operation}({move.input})"
        yield (
            f"one step can change the choice ({where} by {move.by:+.3f}; steps of "
            f"{node.last_step:.3f} were taken in the last epoch)"
        )
    if epochs > 1 and node.chosen_since == epochs:
        yield f"the choice is that of epoch {epochs} alone, the last; before, it was another"


def weightless_share(paths: Sequence[Path]) -> float:
    """The share of the paths that have no weights where the stride is 1."""
    return sum(_is_weightless(path.operation) for path in paths) / len(paths)


def _is_weightless(operation: str) -> bool:
    if operation not in CANDIDATES:
        return False
    graph = candidate_graph(operation, TensorType((1, 4, 8, 8)), Place(4))
    return graph.cost().parameters == 0
