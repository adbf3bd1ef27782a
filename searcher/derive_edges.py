"""From probabilities to a genotype where every edge has a distribution and one path is kept of it.

The rules of the methods that search an operation an edge. Like that of `derive.py` they work in
float64, and no node is ever empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datac.documents.genotype import Path
from datac.documents.search_space import NONE
from searcher.derive import Choice, node_distribution
from searcher.gumbel import Column, Layout

EDGES = 2
"""Of a node, in the cells of DARTS and its heirs."""


def strongest_edges(node: int, table: NDArray[np.float64], layout: Layout) -> Choice:
    """The best path of each of the two edges whose best paths are the most probable.

    As in DARTS (`cnn/model_search.py:genotype`): an edge is as strong as its most probable
    candidate but `none`, whose share of the edge weakens the others and is never chosen. Of equal
    ones the first edge and the first candidate win. No node is empty: each has two edges or more.
    table: (G, n), a row an edge.
    """
    paths = layout.paths(node)
    edges = [[path for path in paths if path.input == source] for source in range(node)]
    best = [_best(columns, table) for columns in edges]
    strongest = sorted(best, key=lambda path: -table[path.group, path.index])[:EDGES]
    return _choice(node, sorted(strongest, key=lambda path: path.group), table, layout)


def best_of_every_edge(node: int, table: NDArray[np.float64], layout: Layout) -> Choice:
    """The most probable candidate of every edge; where that is `none` the edge is dropped.

    Of equal ones the first candidate wins. A node that would lose every edge keeps the most
    probable of its paths. table: (G, n), a row an edge.
    """
    groups = sorted({column.group for column in layout.of_node(node)})
    best = [_best(layout.columns[group], table) for group in groups]
    kept = [column for column in best if column.operation != NONE]
    return _choice(node, kept or [_best(layout.paths(node), table)], table, layout)


def _best(columns: Sequence[Column], table: NDArray[np.float64]) -> Column:
    return max(columns, key=lambda column: table[column.group, column.index])


def _choice(
    node: int, kept: Sequence[Column], table: NDArray[np.float64], layout: Layout
) -> Choice:
    none, paths = node_distribution(node, table, layout)
    return Choice(
        node=node,
        paths=tuple(
            Path(operation=column.operation, input=column.input)
            for column in kept
            if column.input is not None
        ),
        none=none,
        distribution=tuple(paths.tolist()),
    )
