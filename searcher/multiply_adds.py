"""The multiply-adds of children, path by path: what a node adds up, their counts add up, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from compiler.lower import lower
from compiler.skeletons import SKELETONS
from datac.documents.genotype import FIRST_NODE, Cell, CellKind, Genotype, Node, Path
from datac.documents.network import Network
from searcher.gumbel import Layout

Place = tuple[int, str]
"""An input and an operation: at both, two paths of a kind of cell cost the same."""


@dataclass(frozen=True, eq=False)
class MultiplyAdds:
    """rest: of what is no path. paths: (G, n) int64 for each kind, of all cells of the kind."""

    rest: int
    paths: Mapping[CellKind, Tensor]

    def of(self, code: Mapping[CellKind, Tensor]) -> int:
        """Of the child that has the paths of a code, (G, n) bool for each kind."""
        return self.rest + sum(int(self.paths[kind][code[kind]].sum()) for kind in code)


def multiply_adds(genotype: Genotype, network: Network) -> int:
    """Of one sample, counted as `datac show` counts: with what nothing in the network reads."""
    return lower(genotype, network, keep_unread=True).cost().multiply_adds


def multiply_adds_of_paths(layout: Layout, network: Network) -> MultiplyAdds:
    """Read off one graph in which every candidate reads every input once."""
    cell = _cell_of_everything(layout)
    genotype = Genotype(cells={"normal": cell, "reduction": cell})
    graph = lower(genotype, network, keep_unread=True)
    kinds = {plan.index: plan.kind for plan in SKELETONS[network.skeleton].plan(network)}
    rest = 0
    counts: dict[CellKind, dict[Place, int]] = {"normal": {}, "reduction": {}}
    for node in graph.nodes():
        count, (at,) = node.op.multiply_adds(*graph.operand_types(node)), node.origin
        if at.cell is None or at.node is None or at.path is None:
            rest += count
            continue
        path = cell.nodes[at.node - FIRST_NODE].paths[at.path]
        of_kind, place = counts[kinds[at.cell]], (path.input, path.operation)
        of_kind[place] = of_kind.get(place, 0) + count
    return MultiplyAdds(rest, {kind: _table(layout, found) for kind, found in counts.items()})


def _cell_of_everything(layout: Layout) -> Cell:
    """The first node reads both inputs of the cell, every other one the node before it."""
    nodes = []
    for number in layout.node_numbers:
        inputs = range(FIRST_NODE) if number == FIRST_NODE else [number - 1]
        nodes.append(
            Node(
                paths=tuple(
                    Path(operation=name, input=source)
                    for source in inputs
                    for name in layout.operations
                )
            )
        )
    return Cell(nodes=tuple(nodes), output=tuple(layout.node_numbers))


def _table(layout: Layout, counts: Mapping[Place, int]) -> Tensor:
    """(G, n) int64. A kind that the network has no cell of costs nothing."""
    table = torch.zeros(layout.shape, dtype=torch.int64)
    for node in layout.node_numbers:
        for path in layout.paths(node):
            if path.input is not None:
                place = path.input, path.operation
                table[path.group, path.index] = counts.get(place, 0)
    return table
