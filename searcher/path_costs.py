"""What every path of a child costs, counted on the compiler's own graphs.

A child's cost is that of its paths and of everything else:

    cost = rest + Σ over the cells, nodes and paths

Every cell of a kind has the same paths, and where a path stands in its cell matters only by its
input. So the cost of (kind, input, operation) is summed over the cells of that kind once, and
that of any genotype of the space is then a sum of a few numbers. All nodes of a derived cell are
in its output, so the rest (stem, preprocessing of the cells' inputs, head) is always the same.

Counted as `datac show` counts, with cells and inputs of cells that nothing reads. A build leaves
these out, so it may cost less, never more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.path_places import PathPlace, path_places
from datac.documents.genotype import CELL_KINDS, Cell, CellKind
from datac.documents.latency_table import LatencyTable
from datac.documents.network import Network
from datac.documents.search_result import CountedQuantity
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput


@dataclass(frozen=True)
class PathCosts:
    """One quantity. paths: of (input, operation), summed over the cells of the kind.

    uncertainty: the share that has been added to what was measured, for what a sum of paths is off.
    """

    rest: float
    paths: Mapping[CellKind, Mapping[tuple[int, str], float]]
    uncertainty: float = 0.0

    def of(self, cells: Mapping[CellKind, Cell]) -> float:
        """The cost of a child whose cells' outputs hold every node."""
        return self.rest + sum(
            self.paths[kind][path.input, path.operation]
            for kind, cell in cells.items()
            for node in cell.nodes
            for path in node.paths
        )

    def smallest(self, space: SearchSpace) -> float:
        """The cost of the smallest child: every node has the cheapest of its paths, alone."""
        return self.rest + sum(
            min(paths[path.input, path.operation] for path in space.paths(number))
            for paths in self.paths.values()
            for number in space.numbers()
        )


def counted_costs(network: Network, space: SearchSpace, quantity: CountedQuantity) -> PathCosts:
    """The parameters or the multiply-adds of every path of a child."""
    places, rest = path_places(network, space)
    amounts = [(place, float(getattr(place.cost, quantity))) for place in places]
    return PathCosts(float(getattr(rest, quantity)), _summed(amounts, space))


def timed_costs(network: Network, space: SearchSpace, table: LatencyTable) -> PathCosts:
    """The milliseconds of every path of a child for one sample, looked up in a latency table.

    What the table says its sums are off by on average is added, so that a bound means what will be
    measured.

    BadInput for the first entry that the table lacks, and where it is for another network, or
    for several targets or dtypes, which say different things.
    """
    remainders = table.remainders_of(network)
    if not remainders:
        raise BadInput(
            f"--table is of another network than the child's ({table.other_networks(network)}); "
            f"measure one for it: {table.renewal(network, space)}"
        )
    if len(remainders) > 1:
        setups = ", ".join(" ".join(setup) for setup in remainders)
        raise BadInput(f"--table is for several targets ({setups}); give a table of one of them")
    ((target, dtype), remainder_ms) = next(iter(remainders.items()))
    entries = table.by_key()
    margin = 1 + table.mean_error_of(network, (target, dtype))
    amounts = []
    for place in path_places(network, space)[0]:
        key = place.key(target, dtype)
        if key not in entries:
            raise BadInput(
                f"--table has no entry for {_named(place)} at {target} {dtype}; measure one that "
                f"has: {table.renewal(network, space)}"
            )
        amounts.append((place, margin * entries[key].median_ms))
    return PathCosts(margin * remainder_ms, _summed(amounts, space), margin - 1)


def _summed(
    amounts: list[tuple[PathPlace, float]], space: SearchSpace
) -> dict[CellKind, dict[tuple[int, str], float]]:
    """Over the cells of a kind; 0 where the network has no cell of a kind."""
    inputs = range(space.numbers()[-1])
    zeros = {(source, name): 0.0 for source in inputs for name in space.operations}
    summed = {kind: dict(zeros) for kind in CELL_KINDS}
    for place, amount in amounts:
        summed[place.kind][place.input, place.operation] += amount
    return summed


def _named(place: PathPlace) -> str:
    """`sep_conv_3x3 on 1x16x32x32, stride 2, dilation 1`."""
    sizes = "x".join(map(str, (1, *place.shape)))
    unstrided = ", unstrided" if place.unstrided else ""
    return (
        f"{place.operation} on {sizes}, stride {place.stride}, dilation {place.dilation}{unstrided}"
    )
