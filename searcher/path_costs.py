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

from compiler.lower import lower
from compiler.ops import Cost
from compiler.skeletons import SKELETONS
from datac.documents.genotype import CELL_KINDS, FIRST_NODE, Cell, CellKind, Genotype, Node, Path
from datac.documents.latency_table import LatencyTable
from datac.documents.network import Network
from datac.documents.search_result import CountedQuantity
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput


@dataclass(frozen=True)
class PathPlace:
    """One candidate on one input of one cell, and what it reads there.

    shape: (C, H, W) of the input. stride, dilation, unstrided: see `compiler/candidates.py:Place`.
    """

    kind: CellKind
    cell: int
    input: int
    operation: str
    shape: tuple[int, int, int]
    stride: int
    dilation: int
    unstrided: bool
    cost: Cost


@dataclass(frozen=True)
class PathCosts:
    """One quantity. paths: of (input, operation), summed over the cells of the kind."""

    rest: float
    paths: Mapping[CellKind, Mapping[tuple[int, str], float]]

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


def path_places(network: Network, space: SearchSpace) -> tuple[list[PathPlace], Cost]:
    """Every place of a child where a path may stand, and the cost of everything else.

    What a latency table must hold to time the child, and what parameters and multiply-adds are
    counted on. Read off one graph in which every candidate reads every input once.
    """
    cell = _cell_of_everything(space)
    graph = lower(Genotype(cells=dict.fromkeys(CELL_KINDS, cell)), network, keep_unread=True)
    costs: dict[tuple[int, int, int], Cost] = {}
    shapes: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    rest = Cost()
    for node in graph.nodes():
        (at,) = node.origin
        operands = graph.operand_types(node)
        cost = node.op.cost(*operands)
        if at.cell is None or at.node is None or at.path is None:
            rest += cost
            continue
        key = at.cell, at.node, at.path
        channels, height, width = operands[0].shape[1:]
        shapes.setdefault(key, (int(channels), int(height), int(width)))  # of the path's first node
        costs[key] = costs.get(key, Cost()) + cost
    places = []
    for plan in SKELETONS[network.skeleton].plan(network):
        for number, node_of_cell in cell.numbered():
            for index, path in enumerate(node_of_cell.paths):
                place = plan.place(path.input, "child")
                places.append(
                    PathPlace(
                        plan.kind,
                        plan.index,
                        path.input,
                        path.operation,
                        shapes[plan.index, number, index],
                        place.stride,
                        place.dilation,
                        place.unstrided,
                        costs[plan.index, number, index],
                    )
                )
    return places, rest


def _cell_of_everything(space: SearchSpace) -> Cell:
    """The first node reads both inputs of the cell, every other the node before it."""
    nodes = tuple(
        Node(
            paths=tuple(
                Path(operation=operation, input=source)
                for source in (range(FIRST_NODE) if number == FIRST_NODE else (number - 1,))
                for operation in space.operations
            )
        )
        for number in space.numbers()
    )
    return Cell(nodes=nodes, output=tuple(space.numbers()))


def counted_costs(network: Network, space: SearchSpace, quantity: CountedQuantity) -> PathCosts:
    """The parameters or the multiply-adds of every path of a child."""
    places, rest = path_places(network, space)
    amounts = [(place, float(getattr(place.cost, quantity))) for place in places]
    return PathCosts(float(getattr(rest, quantity)), _summed(amounts, space))


def timed_costs(network: Network, space: SearchSpace, table: LatencyTable) -> PathCosts:
    """The milliseconds of every path of a child for one sample, looked up in a latency table.

    BadInput for the first entry that the table lacks, and where it is for another network, or
    for several targets or dtypes, which say different things.
    """
    remainders = table.remainders_of(network)
    if not remainders:
        raise BadInput(
            f"--table has no remainder for the child's network ({_described(network)}); measure "
            "a table for it, or give the options of a network that the table is for"
        )
    if len(remainders) > 1:
        setups = ", ".join(" ".join(setup) for setup in remainders)
        raise BadInput(f"--table is for several targets ({setups}); give a table of one of them")
    ((target, dtype), remainder_ms) = next(iter(remainders.items()))
    entries = table.by_key()
    amounts = []
    for place in path_places(network, space)[0]:
        key = (
            target,
            place.operation,
            (1, *place.shape),
            place.stride,
            place.dilation,
            place.unstrided,
            dtype,
        )
        if key not in entries:
            raise BadInput(
                f"--table has no entry for {_named(place)} at {target} {dtype}; measure a table "
                f"for the child's network ({_described(network)})"
            )
        amounts.append((place, entries[key].median_ms))
    return PathCosts(remainder_ms, _summed(amounts, space))


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


def _described(network: Network) -> str:
    sizes = "x".join(map(str, network.input))
    return f"{network.skeleton}, {network.channels} channels, {network.cells} cells, input {sizes}"
