"""A genotype without some of its paths, and the weights that it inherits."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from compiler.graph import Weights
from compiler.lower import lower
from compiler.skeletons import SKELETONS
from datac.documents.genotype import CELL_KINDS, FIRST_NODE, Cell, CellKind, Genotype, Node, Path
from datac.documents.network import Network
from datac.errors import BadInput

WORD = re.compile(r"(normal|reduction)/node([0-9]{1,4})/path([0-9]{1,4})(?:/[^/]+)?")
TENSOR = re.compile(r"cell(\d+)\.node(\d+)\.path(\d+)\.(.*)")


@dataclass(frozen=True, order=True)
class PathName:
    """One path of a kind of cell, as `normal/node2/path0`."""

    kind: CellKind
    node: int
    path: int

    def __str__(self) -> str:
        return f"{self.kind}/node{self.node}/path{self.path}"


def parse_place(word: str) -> PathName:
    """`normal/node2/path0`, the operation behind it or not; BadInput for anything else."""
    match = WORD.fullmatch(word)
    if match is None:
        raise BadInput(f"{word!r} is no path of a cell; write it as normal/node2/path0")
    kind: CellKind = "normal" if match[1] == "normal" else "reduction"
    return PathName(kind, int(match[2]), int(match[3]))


def removable(genotype: Genotype) -> list[PathName]:
    """The paths of used nodes that are not alone in their node, in the genotype's order."""
    return [
        PathName(kind, number, index)
        for kind in CELL_KINDS
        for number, node in genotype.cells[kind].numbered()
        if number in genotype.cells[kind].used() and len(node.paths) > 1
        for index in range(len(node.paths))
    ]


def path_at(genotype: Genotype, place: PathName) -> Path:
    """Operation and input of a path; BadInput for one that is not there, with those that are."""
    paths = _paths_beside(genotype, place)
    if place.path < len(paths):
        return paths[place.path]
    there = f"{place.kind}/node{place.node} has {_from_to('path', range(len(paths)))}"
    if not paths:
        numbers = [number for number, _ in genotype.cells[place.kind].numbered()]
        there = f"the {place.kind} cell has {_from_to('node', numbers)}"
    raise BadInput(f"{place}: the genotype has no such path; {there}")


def _paths_beside(genotype: Genotype, place: PathName) -> tuple[Path, ...]:
    """All of the node that it is in; none where there is no such node."""
    nodes = dict(genotype.cells[place.kind].numbered())
    return nodes[place.node].paths if place.node in nodes else ()


def _from_to(name: str, numbers: Sequence[int]) -> str:
    ends = dict.fromkeys([*numbers[:1], *numbers[-1:]])
    return " to ".join(f"{name}{number}" for number in ends)


def without(genotype: Genotype, places: Collection[PathName]) -> Genotype:
    """The smaller genotype, which no search has found: whoever keeps it writes its provenance.

    BadInput for a path that is not there, or is all that a node has.
    """
    for place in places:
        path_at(genotype, place)
        left = len(_paths_beside(genotype, place)) - sum(
            (other.kind, other.node) == (place.kind, place.node) for other in set(places)
        )
        if left < 1:
            raise BadInput(
                f"{place}: nothing would be left for {place.kind}/node{place.node} to add up"
            )
    cells = {kind: _smaller(kind, cell, places) for kind, cell in genotype.cells.items()}
    return Genotype.model_validate({**dict(genotype), "cells": cells, "provenance": None})


def _smaller(kind: CellKind, cell: Cell, places: Collection[PathName]) -> Cell:
    nodes = tuple(
        Node(
            paths=tuple(
                path
                for index, path in enumerate(node.paths)
                if PathName(kind, number, index) not in places
            )
        )
        for number, node in cell.numbered()
    )
    return Cell(nodes=nodes, output=cell.output)


def inherited(
    genotype: Genotype, network: Network, places: Collection[PathName], weights: Weights
) -> Weights:
    """The tensors of the smaller network, under the names that they have there.

    A path's number falls by the removed ones before it. weights: of the whole network.
    """
    smaller = without(genotype, places)
    kinds = {plan.index: plan.kind for plan in SKELETONS[network.skeleton].plan(network)}
    kept = _kept(genotype, places)
    return {
        name: weights[_before(name, kinds, kept)] for name in lower(smaller, network).weight_specs()
    }


def _kept(
    genotype: Genotype, places: Collection[PathName]
) -> Mapping[tuple[CellKind, int], list[int]]:
    """(kind, node) → the numbers that its remaining paths had."""
    return {
        (kind, number): [
            index for index in range(len(node.paths)) if PathName(kind, number, index) not in places
        ]
        for kind, cell in genotype.cells.items()
        for number, node in enumerate(cell.nodes, start=FIRST_NODE)
    }


def _before(
    name: str, kinds: Mapping[int, CellKind], kept: Mapping[tuple[CellKind, int], list[int]]
) -> str:
    match = TENSOR.fullmatch(name)
    if match is None:
        return name
    cell, node, path = (int(match[i]) for i in (1, 2, 3))
    return f"cell{cell}.node{node}.path{kept[kinds[cell], node][path]}.{match[4]}"
