"""Every place of a child where a path may stand: what it reads there, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.lower import lower
from compiler.ops import Cost
from compiler.skeletons import SKELETONS
from datac.documents.genotype import CELL_KINDS, FIRST_NODE, Cell, CellKind, Genotype, Node, Path
from datac.documents.latency_table import Key
from datac.documents.network import Network
from datac.documents.search_space import SearchSpace


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

    def key(self, target: str, dtype: str) -> Key:
        """What a latency table holds it under."""
        shape = (1, *self.shape)
        where = (self.stride, self.dilation, self.unstrided)
        return (target, self.operation, shape, *where, dtype)

    def count(self, genotype: Genotype) -> int:
        """How many paths of the genotype's used nodes stand here."""
        cell = genotype.cells[self.kind]
        used = cell.used()
        return sum(
            (path.operation, path.input) == (self.operation, self.input)
            for number, node in cell.numbered()
            if number in used
            for path in node.paths
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
