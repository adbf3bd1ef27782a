"""From probabilities to a genotype: for every node the most probable code of the sampler.

The rule is that of the authors' released derivation, computed exactly and in float64. Of all sets
of one size the one with the largest probabilities is the most probable (P(S) grows with every p),
so the codes that can win are the prefixes of the node's columns in descending order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datac.documents.genotype import (
    Aggregation,
    Cell,
    CellKind,
    Genotype,
    Node,
    Path,
    Provenance,
)
from datac.documents.network import Network
from datac.documents.search_result import NodeDistribution
from datac.documents.search_space import NONE
from datac.errors import BadInput
from searcher.gumbel import Layout, prefix_probabilities

TIE = 1e-12
"""Relative difference under which two probabilities count as equal: rounding is about 1e-15."""


@dataclass(frozen=True)
class Choice:
    """What one node gets, from which distribution, and how clearly.

    `none` and `distribution` are over the whole node and sum to 1; the latter has one entry a
    path, by input, then as the candidates stand.
    `probability`: that a draw of the node gives these paths, with or without `none`, which leaves
    no trace in the child. `runner_up_probability`: the same of the most probable other non-empty
    set of paths. It can be the larger one: what is compared when choosing is the probability of
    one code, with `none` or without, and bounds may forbid the most probable one. Both are None
    where the rule is not about a draw.
    """

    node: int
    paths: tuple[Path, ...]
    none: float
    distribution: tuple[float, ...]
    probability: float | None = None
    runner_up_probability: float | None = None

    @property
    def margin(self) -> float | None:
        """How much more probable the chosen set is than any other; see the class."""
        if self.probability is None or self.runner_up_probability is None:
            return None
        return self.probability - self.runner_up_probability


@dataclass(frozen=True)
class Derived:
    """The choices of every cell, nodes in order."""

    choices: dict[CellKind, tuple[Choice, ...]]
    aggregation: Aggregation

    @property
    def cells(self) -> dict[CellKind, Cell]:
        """The cells; every node is in the output."""
        return {
            kind: Cell(
                nodes=tuple(Node(paths=choice.paths) for choice in choices),
                output=tuple(choice.node for choice in choices),
            )
            for kind, choices in self.choices.items()
        }

    @property
    def distributions(self) -> dict[CellKind, tuple[NodeDistribution, ...]]:
        """What the search result records of every node."""
        return {
            kind: tuple(
                NodeDistribution(
                    none=choice.none,
                    paths=choice.distribution,
                    chosen_probability=choice.probability,
                    runner_up_probability=choice.runner_up_probability,
                )
                for choice in choices
            )
            for kind, choices in self.choices.items()
        }

    def genotype(
        self, network: Network | None = None, provenance: Provenance | None = None
    ) -> Genotype:
        """The genotype of the cells, which must be both kinds."""
        return Genotype(
            aggregation=self.aggregation,
            cells=self.cells,
            network=network,
            provenance=provenance,
        )


Rule = Callable[[int, NDArray[np.float64]], Choice]
"""From the number of a node and the probabilities of its cell, (G, n), to the node's choice."""


def derive(
    probabilities: Mapping[CellKind, NDArray[np.float64]],
    layout: Layout,
    draws: int,
    aggregation: Aggregation,
) -> Derived:
    """Choose the paths of every node of every cell by the rule of this file.

    probabilities: (G, n) for each kind, as `layout` lays them out. With a distribution per edge
    the rows of a node are put together and divided by their sum, so each edge weighs the same.
    """

    def rule(node: int, table: NDArray[np.float64]) -> Choice:
        return choose(node, table, layout, draws)

    return derive_by(rule, probabilities, layout, aggregation)


def derive_by(
    rule: Rule,
    probabilities: Mapping[CellKind, NDArray[np.float64]],
    layout: Layout,
    aggregation: Aggregation,
) -> Derived:
    """Choose the paths of every node of every cell. probabilities: as for `derive`."""
    choices: dict[CellKind, tuple[Choice, ...]] = {}
    for kind, values in probabilities.items():
        table = np.asarray(values, dtype=np.float64)
        if table.shape != layout.shape:
            raise ValueError(f"{kind} cell: {table.shape} probabilities, expected {layout.shape}")
        if not np.isfinite(table).all():
            raise BadInput(
                f"the probabilities of the {kind} cell are not finite: search again with a lower "
                "learning rate"
            )
        choices[kind] = tuple(rule(node, table) for node in layout.node_numbers)
    return Derived(choices, aggregation)


def choose(node: int, table: NDArray[np.float64], layout: Layout, draws: int) -> Choice:
    """The paths of one node: the rule, and the probabilities that say how clear it was.

    Paths are listed by input, then in the order of the candidates. A node whose most probable
    code is `none` alone gets its most probable path. table: (G, n).
    """
    none, paths = node_distribution(node, table, layout)
    order = np.argsort(-paths, kind="stable")
    size = max(_size_of_best_code(none, paths[order], draws), 1)
    chosen = [layout.paths(node)[index] for index in sorted(order[:size])]
    probability, runner_up = first_and_second(none, paths[order], size, draws)
    return Choice(
        node=node,
        paths=tuple(
            Path(operation=c.operation, input=c.input) for c in chosen if c.input is not None
        ),
        none=none,
        distribution=tuple(paths.tolist()),
        probability=probability,
        runner_up_probability=runner_up,
    )


def node_distribution(
    node: int, table: NDArray[np.float64], layout: Layout
) -> tuple[float, NDArray[np.float64]]:
    """The probability of the node's merged `none`, and those of its paths. table: (G, n)."""
    columns = layout.of_node(node)
    p = np.clip([table[column.group, column.index] for column in columns], 0.0, None)
    p = p / p.sum()
    is_none = np.array([column.operation == NONE for column in columns])
    return min(float(p[is_none].sum()), 1.0), p[~is_none]


def _size_of_best_code(none: float, paths: NDArray[np.float64], draws: int) -> int:
    """How many paths the most probable prefix holds; paths in descending order.

    The merged `none` stands before a path of the same probability, and of equally probable
    prefixes the shortest wins.
    """
    place = int(np.count_nonzero(paths > none)) if none > 0 else len(paths)
    ordered = np.insert(paths, place, none)[:draws]
    length = _first_maximum(prefix_probabilities(ordered, draws)) + 1
    return length - (place < length)


def _first_maximum(scores: NDArray[np.float64]) -> int:
    """The index of the first of the scores that are largest but for rounding."""
    return int(np.argmax(scores >= scores.max() * (1 - TIE)))


def first_and_second(
    none: float, paths: NDArray[np.float64], size: int, draws: int
) -> tuple[float, float]:
    """The probability of the first `size` paths as a child, and that of the next best child.

    The next best has either another size or, at the same one, the next path in place of the last.
    """
    children = child_probabilities(none, paths, draws)
    others = [*np.delete(children, size - 1)]
    if size < len(paths):
        swapped = np.append(paths[: size - 1], paths[size])
        others.append(child_probabilities(none, swapped, draws)[-1])
    # Rounding may lead a sure thing past 1.
    return min(float(children[size - 1]), 1.0), min(float(max(others, default=0.0)), 1.0)


def child_probabilities(none: float, paths: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """P(S) + P(S and none) for S = the first 1, 2, ... of the paths, at most M of them."""
    paths = paths[:draws]
    with_none = prefix_probabilities(np.insert(paths, 0, none), draws)[1:]
    return prefix_probabilities(paths, draws) + with_none
