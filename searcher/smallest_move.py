"""How far a single logit may move before a node's choice changes.

The choice is derived again wherever it is looked at; what is computed here is where to look. A
logit's move of δ changes log P(code) by at most M |δ|, and the logarithm of the ratio of two
codes too: a draw's log p_k changes at a rate of [k is the logit] - π for the paths that share its
distribution and of 0 for the others, π the logit's own probability there, so the M draws of any
code have a rate between -Mπ and M(1 - π). Where the chosen paths lead by a factor of exp(r), no
move shorter than r / M of any logit can change the choice, whatever happens in between.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.derive import choose, node_distribution
from searcher.gumbel import Column, Layout, prefix_probabilities, set_probability

FARTHEST = 10.0
"""Moves beyond are not looked for: no logit of the published search can travel much further
(`searcher/recipes.py:ARCHITECTURE_TRAVEL`). Up to here float64 is safe: the chosen code of M <= 64
draws and 35 paths has P above 2^-36, so one of P below 1e-308, where digits are lost, is behind
by more than exp(680), and 680 / 64 is more than 10."""

RESOLUTION = 1e-4
"""The shortest step of the search. A choice that changes and comes back within it is not seen; the
shortest step of the published optimiser is three times as long."""

EXACT = 1e-9
"""How closely the place of a change is found."""


@dataclass(frozen=True)
class Move:
    """A logit, and the signed distance at which the choice of its node changes."""

    column: Column
    by: float


@dataclass(frozen=True)
class _Node:
    """One node; logits: (G, n)."""

    number: int
    logits: NDArray[np.float64]
    layout: Layout
    draws: int

    def table(self, column: Column, by: float) -> NDArray[np.float64]:
        """The probabilities (G, n) with one logit moved."""
        moved = self.logits.copy()
        moved[column.group, column.index] += by
        return softmax(moved, self.layout)

    def choice(self, column: Column, by: float) -> frozenset[tuple[str, int]]:
        """The paths that are chosen then."""
        found = choose(self.number, self.table(column, by), self.layout, self.draws)
        return frozenset((path.operation, path.input) for path in found.paths)

    def room(self, column: Column, by: float, chosen: list[int]) -> float:
        """A move that is certainly too short to change the choice from there."""
        none, paths = node_distribution(self.number, self.table(column, by), self.layout)
        return certain_room(none, paths, chosen, self.draws)


def softmax(logits: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    """Over the columns that exist. (..., G, n) → (..., G, n), 0 in columns that do not exist."""
    scores = np.where(layout.mask.numpy(), logits, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p: NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return p


def smallest_move(
    node: int, logits: NDArray[np.float64], layout: Layout, draws: int
) -> Move | None:
    """The shortest move of one logit that changes the node's choice; None if all are too long.

    logits: (G, n). Every logit is walked in both directions, the walk that has come least far
    first, by steps that certainly change nothing (but at least RESOLUTION). Where a step changed
    the choice, bisection finds the place; the first place that no other walk can beat is the
    answer.
    """
    this = _Node(node, logits, layout, draws)
    columns = layout.of_node(node)
    paths = choose(node, softmax(logits, layout), layout, draws).paths
    original = frozenset((path.operation, path.input) for path in paths)
    chosen = [
        index
        for index, column in enumerate(layout.paths(node))
        if (column.operation, column.input) in original
    ]
    # (distance, whether the choice changes there, which logit, direction)
    waiting = [(0.0, False, index, sign) for index in range(len(columns)) for sign in (1, -1)]
    while waiting:
        distance, changes, index, sign = heapq.heappop(waiting)
        column = columns[index]
        if distance > FARTHEST:
            return None
        if changes:
            return Move(column, sign * distance)
        room = this.room(column, sign * distance, chosen)
        further = distance + max(room, RESOLUTION)
        changed = this.choice(column, sign * further) != original if room < RESOLUTION else False
        if changed:
            further = _first_change(this, column, sign, (distance, further), original)
        heapq.heappush(waiting, (further, changed, index, sign))
    return None


def _first_change(
    node: _Node,
    column: Column,
    sign: int,
    between: tuple[float, float],
    original: frozenset[tuple[str, int]],
) -> float:
    """Where the choice changes between a distance where it does not and one where it does."""
    same, other = between
    while other - same > EXACT:
        middle = (same + other) / 2
        if node.choice(column, sign * middle) == original:
            same = middle
        else:
            other = middle
    return other


def certain_room(none: float, paths: NDArray[np.float64], chosen: list[int], draws: int) -> float:
    """How far any one logit can move, at least, before other paths than `chosen` are derived.

    The codes that give the chosen paths are these alone, these and `none`, and, for the most
    probable path alone, also `none` alone, since no node is left empty. In that last case a
    change of which path is the most probable counts as well, and that ratio changes at a rate of
    1 at most. 0 or less where the choice is another or a tie.
    """
    with np.errstate(divide="ignore"):
        own = np.log(max(_code(none, paths, chosen, draws), 0.0))
        rivals = np.log(_best_rival(none, paths, chosen, draws))
        alone = np.log(float(none) ** draws)
        room = float(own - max(rivals, alone)) / draws
        if len(chosen) > 1:
            return room
        others = np.delete(paths, chosen[0])
        lead = float(np.log(paths[chosen[0]]) - np.log(others.max(initial=0.0)))
    return max(room, min(float(max(own, alone) - rivals) / draws, lead))


def _code(none: float, paths: NDArray[np.float64], chosen: list[int], draws: int) -> float:
    """P of the more probable of the two codes that hold these paths."""
    return max(
        set_probability(paths[chosen], draws),
        set_probability([none, *paths[chosen]], draws),
    )


def _best_rival(none: float, paths: NDArray[np.float64], chosen: list[int], draws: int) -> float:
    """The largest P of a code that gives other paths, `none` alone left out.

    Of the codes of one size the most probable is the prefix of the columns in descending order,
    the next the prefix with its last column replaced by the next one. At most one code of a size
    gives the chosen paths.
    """
    columns = np.concatenate([[none], paths])
    order = np.argsort(-columns, kind="stable")
    own = {frozenset(index + 1 for index in chosen), frozenset((0, *(i + 1 for i in chosen)))}
    own.add(frozenset((0,)))
    most = min(draws, len(columns))
    prefixes = prefix_probabilities(columns[order[:most]], draws)
    best = 0.0
    for size in range(1, most + 1):
        codes = (order[[*range(size - 1), last]] for last in range(size - 1, len(columns)))
        code = next((c for c in codes if frozenset(c.tolist()) not in own), None)
        if code is None:
            continue
        prefix = code[-1] == order[size - 1]
        best = max(best, prefixes[size - 1] if prefix else set_probability(columns[code], draws))
    return best
