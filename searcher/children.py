"""The most probable children: of one node, and of all nodes together.

A child of a node is its set of paths. `none` leaves no trace in it, so its probability is
q(S) = P(S) + P(S and none), as in `searcher/derive.py`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.derive import child_probabilities

Indices = tuple[int, ...]


@dataclass(frozen=True)
class Child:
    """A node's paths, as increasing indices among all paths of the node, and q of the set."""

    paths: Indices
    probability: float


def ranked_children(none: float, paths: NDArray[np.float64], draws: int) -> Iterator[Child]:
    """Every non-empty child of a node that can occur, the most probable first.

    none, paths: the node's distribution, (K,) for K paths in any order. Nothing is sorted that is
    not asked for: one more child costs at most two evaluations of q.

    q(S) is M! times the coefficient of t^M in exp(p_none t) Π (exp(p_k t) - 1), which grows with
    every p_k of the set. With the paths in descending order, a set therefore has no larger q than
    the one with any of its members a place further up. Each set but the first k paths has just one
    parent of that kind, the one that `_next_sets` comes from, so that walking from parents to
    their sets, the most probable waiting set first, meets each set once and in order.
    """
    order = np.argsort(-paths, kind="stable")
    ranked = paths[order]

    def entry(places: Indices) -> tuple[float, Indices]:
        return -float(child_probabilities(none, ranked[list(places)], draws)[-1]), places

    sizes = range(1, min(draws, len(paths)) + 1)
    waiting = [entry(tuple(range(size))) for size in sizes]
    heapq.heapify(waiting)
    while waiting:
        negative, places = heapq.heappop(waiting)
        if negative == 0:
            return
        yield Child(tuple(sorted(order[list(places)].tolist())), min(-negative, 1.0))
        for following in _next_sets(places, len(paths)):
            heapq.heappush(waiting, entry(following))


def _next_sets(places: Indices, count: int) -> Iterator[Indices]:
    """The sets whose parent this is: of increasing places below `count`, one moved down by one.

    The parent of a set has the first member that stands below its own place in the set (member i
    below place i) moved up by one. So what may move down is that member and, since all before it
    stand at their own place, the one before it.
    """
    size = len(places)
    first = next((i for i, place in enumerate(places) if place > i), size)
    for moved in (first - 1, first):
        if not 0 <= moved < size:
            continue
        below = places[moved] + 1
        if below < (places[moved + 1] if moved + 1 < size else count):
            yield (*places[:moved], below, *places[moved + 1 :])


def most_probable(nodes: Sequence[Iterable[Child]]) -> Iterator[tuple[Child, ...]]:
    """The children of all nodes together, the largest product of probabilities first.

    nodes: of each node its children, the most probable first; only what is needed is taken. Each
    combination but the first of all has one parent: the last node that is not at its first child
    goes back by one. Products are compared as sums of logarithms, which do not underflow.
    """
    lists = [_Lazy(children) for children in nodes]

    def entry(ranks: Indices) -> tuple[float, Indices] | None:
        found = [known.at(rank) for known, rank in zip(lists, ranks, strict=True)]
        if any(child is None for child in found):
            return None
        return -math.fsum(math.log(child.probability) for child in found if child), ranks

    start = entry((0,) * len(lists))
    waiting = [start] if start else []
    while waiting:
        _, ranks = heapq.heappop(waiting)
        yield tuple(known.known[rank] for known, rank in zip(lists, ranks, strict=True))
        last = max((place for place, rank in enumerate(ranks) if rank), default=0)
        for place in range(last, len(ranks)):
            following = entry((*ranks[:place], ranks[place] + 1, *ranks[place + 1 :]))
            if following is not None:
                heapq.heappush(waiting, following)


class _Lazy:
    """An iterator whose entries can be asked for by number."""

    def __init__(self, children: Iterable[Child]) -> None:
        self._rest = iter(children)
        self.known: list[Child] = []

    def at(self, rank: int) -> Child | None:
        """None past the end."""
        while len(self.known) <= rank:
            child = next(self._rest, None)
            if child is None:
                return None
            self.known.append(child)
        return self.known[rank]
