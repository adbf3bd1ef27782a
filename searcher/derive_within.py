"""The derivation under bounds: of all genotypes that meet them, the most probable.

A search bounds what its draws cost on average; the child is one genotype, and its cost is another.
So where what `derive` chose costs too much, the choice is made again among what meets the bounds:

    maximise  Σ over nodes of log P(code of the node)   subject to   Σ of costs ≤ bounds

The probability is that of the most probable code with exactly these paths, `none` drawn or not:
the rule of `searcher/derive.py` over fewer codes, to which it returns as the bounds grow.

Of the sets of paths with given costs the most probable takes the most probable of each cost (P(S)
grows with every p). So a node's sets that can win are told apart by how many paths of each cost
they take, which is few enough to list. Nodes are then joined one by one, as in a knapsack: a
partial genotype that costs more and is less probable than another can never win.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datac.documents.genotype import CellKind, Path
from datac.documents.search_result import ROUNDING
from searcher.bounds import Bound
from searcher.derive import TIE, Choice, Derived, child_probabilities, first_and_second
from searcher.gumbel import Column, Layout, one_more

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MOST_SETS = 200_000
"""Of one node, listed in full; with 4 or 7 draws no node of 7 candidates has more."""

MOST_KEPT = 1000
"""Sets of a node, or partial genotypes, that the next is joined to. Beyond it one cost in so many
steps of the bound is kept, with what meets the bounds by the widest margin; see `derive_within`.
One bound of a real search stays within it; two that both bind lost at most 0.5 of some 30 in the
sum of logarithms, mostly nothing.
"""

MOST_PRICES = 16
"""Of the prices at which the cheapest partial genotypes are kept as well."""

GRIDS = (8, 64, 512)
"""Prices tried of a second cost, the coarsest at which a genotype meets the bounds."""

OFFSET = (math.sqrt(5) - 1) / 2
"""Of a grid of prices: an irrational one, at which whole numbers do not tie."""

TILTS = (0.0, *np.logspace(-1, 6, 71).tolist())
"""Prices of cost in log-probability, where there are too many sets to list."""


@dataclass(frozen=True)
class _Sets:
    """Alternatives: cost (S, bounds), score (S,), and what they are made of, (S, any)."""

    costs: Floats
    scores: Floats
    made_of: Counts

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> _Sets:
        """Some of them, in the order of `which`."""
        return _Sets(self.costs[which], self.scores[which], self.made_of[which])


def derive_within(derived: Derived, bounds: Sequence[Bound], layout: Layout, draws: int) -> Derived:
    """`derived` itself where it meets every bound, else the most probable genotype that does.

    With one bound that any genotype meets the result meets it. Several are met where a genotype
    does that is the cheapest of all at one of the prices that are tried; where none does, and not
    all alternatives can be kept, one that meets them may be missed. Several that each can be met,
    but not together, give a genotype that misses by a small share of a bound.
    """
    exceeded = [bound for bound in bounds if bound.excess(derived.cells)]
    if not exceeded:
        return derived
    # The best under fewer bounds is the best under all where it meets them all.
    found = _within(derived, exceeded, layout, draws)
    if any(bound.excess(found.cells) for bound in bounds):
        found = _within(derived, bounds, layout, draws)
    return found


def _within(derived: Derived, bounds: Sequence[Bound], layout: Layout, draws: int) -> Derived:
    nodes = [
        _NodeSets(kind, choice, bounds, layout, draws)
        for kind, choices in derived.choices.items()
        for choice in choices
    ]
    best = _most_probable([node.sets for node in nodes], bounds)
    chosen: dict[CellKind, tuple[Choice, ...]] = dict.fromkeys(derived.choices, ())
    for node, index in zip(nodes, best, strict=True):
        chosen[node.kind] += (node.choice_of(index),)
    return replace(derived, choices=chosen)


# ---------------------------------------------------------------- one node


class _NodeSets:
    """The sets of paths that one node may get, one for each (number of paths of each cost)."""

    def __init__(
        self,
        kind: CellKind,
        choice: Choice,
        bounds: Sequence[Bound],
        layout: Layout,
        draws: int,
    ) -> None:
        self.kind, self.choice, self.draws = kind, choice, draws
        self.paths = layout.paths(choice.node)
        self.p = np.array(choice.distribution)
        costs = np.array([[_cost(bound, kind, path) for bound in bounds] for path in self.paths])
        self.classes = _classes(costs, self.p)
        price = costs / [bound.value for bound in bounds]
        counts = self._every_count() if self._number_of_sets() <= MOST_SETS else self._few(price)
        amounts = np.array([costs[members[0]] for members in self.classes])
        scores = np.log(np.maximum(self._probabilities(counts), np.finfo(np.float64).tiny))
        limits = np.array([bound.value for bound in bounds])
        sets = _Sets(counts @ amounts, scores, counts)
        # At any price one path alone is cheaper than with others.
        single = np.flatnonzero(counts.sum(axis=1) == 1)
        self.sets = _fewer(sets, limits, keep=single)

    def _number_of_sets(self) -> int:
        """Ways to take 0 to M paths, so many of each class."""
        ways = np.ones(1)
        for members in self.classes:
            ways = np.convolve(ways, np.ones(len(members) + 1))[: self.draws + 1]
        return int(ways.sum())

    def _every_count(self) -> Counts:
        """(S, classes): all of 1 to M paths."""
        rows = np.zeros((1, 0), dtype=np.int64)
        for members in self.classes:
            longer = []
            for number in range(min(len(members), self.draws) + 1):
                fitting = rows[rows.sum(axis=1) + number <= self.draws]
                longer.append(np.pad(fitting, ((0, 0), (0, 1)), constant_values=number))
            rows = np.concatenate(longer)
        some: Counts = rows[rows.sum(axis=1) > 0]
        return some

    def _few(self, price: Floats) -> Counts:
        """Of too many, those that are the most probable of their size at some price of cost.

        price: (paths, bounds), each cost as a share of its bound. Every path alone is among
        them, and so is the cheapest set at any price.
        """
        which = np.empty(len(self.paths), dtype=np.int64)
        for index, members in enumerate(self.classes):
            which[members] = index
        total = price.sum(axis=1)
        worth = np.log(np.maximum(self.p, np.finfo(np.float64).tiny))
        orders = [np.argsort(tilt * total - worth, kind="stable") for tilt in TILTS]
        orders.append(np.lexsort((-worth, total)))
        one_hot = np.eye(len(self.classes), dtype=np.int64)
        prefixes = [np.cumsum(one_hot[which[order[: self.draws]]], axis=0) for order in orders]
        counts: Counts = np.unique(np.concatenate([one_hot, *prefixes]), axis=0)
        return counts

    def _probabilities(self, counts: Counts) -> Floats:
        """The probability of the most probable code of each set: with `none`, or without."""
        covers = np.zeros((len(counts), self.draws + 1))
        covers[:, 0] = 1.0
        for index, members in enumerate(self.classes):
            for place, member in enumerate(members):
                takes = counts[:, index] > place
                covers[takes] = one_more(covers[takes], float(self.p[member]), self.draws)
        with_none = one_more(covers, self.choice.none, self.draws)
        return np.maximum(covers[:, -1], with_none[:, -1])

    def choice_of(self, counts: Counts) -> Choice:
        """The choice that takes so many paths of each class."""
        taken = [
            members[:number] for members, number in zip(self.classes, counts, strict=True) if number
        ]
        indices = sorted(int(index) for members in taken for index in members)
        probability, runner_up = self._clearness(indices)
        return replace(
            self.choice,
            paths=tuple(
                Path(operation=self.paths[index].operation, input=self.paths[index].source)
                for index in indices
            ),
            probability=probability,
            runner_up_probability=runner_up,
        )

    def _clearness(self, indices: list[int]) -> tuple[float, float]:
        """The probabilities of this child and of the most probable other one; see `Choice`."""
        none, order = self.choice.none, np.argsort(-self.p, kind="stable")
        if sorted(order[: len(indices)].tolist()) == indices:
            return first_and_second(none, self.p[order], len(indices), self.draws)
        chosen = child_probabilities(none, self.p[indices], self.draws)[-1]
        others = child_probabilities(none, self.p[order], self.draws)
        return min(float(chosen), 1.0), min(float(others.max()), 1.0)


def _cost(bound: Bound, kind: CellKind, path: Column) -> float:
    return bound.costs.paths[kind][path.source, path.operation]


def _classes(costs: Floats, p: Floats) -> list[NDArray[np.intp]]:
    """The paths of each cost, the most probable first. costs: (paths, bounds), p: (paths,)."""
    _, which = np.unique(costs, axis=0, return_inverse=True)
    order = np.argsort(-p, kind="stable")
    return [order[which[order] == index] for index in range(which.max() + 1)]


# ---------------------------------------------------------------- all nodes


def _most_probable(nodes: Sequence[_Sets], bounds: Sequence[Bound]) -> list[Counts]:
    """What each node is made of in the most probable genotype within the bounds."""
    values = np.array([bound.value for bound in bounds])
    limits = values - [bound.costs.rest for bound in bounds] + ROUNDING * values
    # What the nodes that are still to come cost at least.
    least = np.cumsum([node.costs.min(axis=0) for node in nodes][::-1], axis=0)[::-1]
    least = np.concatenate([least[1:], np.zeros((1, len(bounds)))])
    prices = _prices(nodes, limits, values)
    partial = _Sets(np.zeros((1, len(bounds))), np.zeros(1), np.zeros((1, 0), dtype=np.int64))
    for node, to_come in zip(nodes, least, strict=True):
        joined = _joined(partial, node)
        over = ((joined.costs + to_come - limits) / values).max(axis=1)
        joined = joined.take((over <= 0) | (over <= over.min()))
        cheapest = [int(np.argmin(joined.costs @ price)) for price in prices]
        partial = _fewer(joined, values, keep=cheapest)
    best = partial.made_of[int(np.argmax(partial.scores))]
    return [node.made_of[index] for node, index in zip(nodes, best, strict=True)]


def _prices(nodes: Sequence[_Sets], limits: Floats, values: Floats) -> Floats:
    """(prices, bounds): those of the costs at which the cheapest genotype meets all bounds.

    It is the cheapest set of every node, so it stays in sight when what is joined is thinned out.
    Where there is none, the price at which it misses by the smallest share of a bound.
    """
    if len(values) == 1:
        return np.zeros((0, 1))
    for size in GRIDS:
        prices = _grid(size, len(values)) / values
        total = np.zeros_like(prices)
        for node in nodes:
            total += node.costs[np.argmin(node.costs @ prices.T, axis=0)]
        over = ((total - limits) / values).max(axis=1)
        met = np.flatnonzero(over <= 0)
        if len(met):
            return prices[met[:: -(-len(met) // MOST_PRICES)]]
    return prices[[np.argmin(over)]]


def _grid(size: int, bounds: int) -> Floats:
    """(points, bounds): shares of the bounds, all above 0 and evenly spread.

    With three bounds the grid is coarser, for as many points.
    """
    if bounds > 2:
        size = max(2, math.isqrt(size))
    ticks = np.meshgrid(*[(np.arange(size) + OFFSET) / size] * (bounds - 1))
    odds = np.stack([tick.reshape(-1) / (1 - tick.reshape(-1)) for tick in ticks], axis=1)
    return np.column_stack([np.ones(len(odds)), odds])


def _joined(partial: _Sets, node: _Sets) -> _Sets:
    """Every pair; what a partial genotype is made of are the places of its nodes' sets."""
    costs = (partial.costs[:, None] + node.costs).reshape(-1, partial.costs.shape[1])
    scores = (partial.scores[:, None] + node.scores).reshape(-1)
    first, second = np.divmod(np.arange(len(scores)), len(node.scores))
    return _Sets(costs, scores, np.column_stack([partial.made_of[first], second]))


def _fewer(sets: _Sets, values: Floats, keep: Sequence[int] | NDArray[np.intp]) -> _Sets:
    """Without those that can never win, and so few that they can be joined.

    values: (bounds,), the unit of the steps in which costs are told apart where there are many.
    keep: places of those that stay where there are several bounds.
    """
    if len(values) == 1:  # of equal probabilities the cheaper one is kept
        sets = sets.take(np.lexsort((-sets.scores, sets.costs[:, 0])))
        before = np.concatenate([[-math.inf], np.maximum.accumulate(sets.scores)[:-1]])
        sets, keep = sets.take(sets.scores > before + TIE), []
    if len(sets.scores) <= MOST_KEPT:
        return sets
    steps = int(MOST_KEPT ** (1 / len(values)))
    step = np.floor(sets.costs / values * steps)
    order = np.lexsort((-sets.scores, *step.T))
    new_step = (np.diff(step[order], axis=0) != 0).any(axis=1)
    kept = order[np.concatenate([[True], new_step])]
    which: NDArray[np.intp] = np.unique([*kept, *sets.costs.argmin(axis=0), *keep])
    return sets.take(which.astype(np.intp))
