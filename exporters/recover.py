"""A genotype from an ONNX that says nothing about itself: read from the topology of its cells.

Names are not looked at. What no output depends on is not in such a file, so nodes that nothing
reads are not in the genotype, and the others close the gap.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from datac.documents.genotype import FIRST_NODE, Cell, CellKind, Genotype, Node
from datac.documents.genotype import Path as GenotypePath
from datac.errors import BadInput
from exporters.cell_reader import CellFound
from exporters.cell_walk import FoundCells
from exporters.onnx_view import OnnxView


def genotype_from_structure(model: onnx.ModelProto, path: Path) -> Genotype:
    """BadInput where the cells cannot be told, or are of no one genotype."""
    view = OnnxView(model)
    found = FoundCells(view)
    values = found.in_order()
    widths = [_width(view, found.at(value)) for value in values]
    if len(set(widths)) < 2:  # no cell that reduces
        raise BadInput(
            f"{path} carries no genotype: neither metadata nor names that datac gives, nor cells "
            "that can be recognised; datac check judges such a file against a genotype and weights"
        )
    ways: dict[CellKind, list[Cell]] = {}
    factors: set[bool] = set()
    for index, value in enumerate(values):
        cell = found.at(value)
        assert cell is not None  # in_order gives cells alone
        reduces = _reduces(widths, index, path)
        kind: CellKind = "reduction" if reduces else "normal"
        read = _ways(view, cell, path, index, values)
        ways[kind] = [way for way in ways.get(kind, read) if way in read]
        if not ways[kind]:
            raise BadInput(f"{path}: its {kind} cells differ, so they are of no one genotype")
        factors |= {node.factor is not None for node in cell.nodes.values() if len(node.paths) > 1}
    if len(ways) < 2:
        raise BadInput(f"{path} has no two kinds of cell to tell a genotype from")
    cells = {kind: alike[0] for kind, alike in ways.items()}
    return Genotype.model_validate(
        {"cells": cells, "aggregation": "mean" if True in factors else "sum"}
    )


def _reduces(widths: list[int], index: int, path: Path) -> bool:
    """Whether a cell is twice as wide as the one before it.

    Nothing is before the first. It reduces where there are two and the other does: of three, the
    second and the third would.
    """
    if index == 0:
        return len(widths) == 2 and widths[1] == 2 * widths[0]
    if widths[index] not in (widths[index - 1], 2 * widths[index - 1]):
        raise BadInput(
            f"{path}: between its cells {index - 1} and {index} one that nothing reads is missing; "
            "datac check judges such a file against a genotype and weights"
        )
    return widths[index] == 2 * widths[index - 1]


def _width(view: OnnxView, cell: CellFound | None) -> int:
    """Channels of a cell's nodes, which a reduction cell doubles: those of its preprocessing."""
    if cell is None:
        return 0
    preprocess = next(iter(cell.inputs.values()))
    convs = [node for node in preprocess.nodes if node.op_type == "Conv"]
    weights = [view.array(conv.inputs[1]) for conv in convs]
    return sum(weight.shape[0] for weight in weights if weight is not None and weight.ndim)


def _ways(view: OnnxView, cell: CellFound, path: Path, index: int, values: list[str]) -> list[Cell]:
    """The cell, its inputs numbered; both ways round where their order does not show.

    The first cell may read the stem's one result twice, and a cell that reads the one before it in
    the file alone may have skipped one that nothing reads.
    """
    inputs = sorted(cell.inputs, key=lambda value: _place(view, cell.inputs[value].source))
    if len(inputs) > 2:
        raise BadInput(
            f"{path}: cell {index} reads {len(inputs)} values, and a cell has two inputs"
        )
    sources = [cell.inputs[value].source for value in inputs]
    if len(inputs) == 1:
        nearest = index == 0 or sources[0] == values[index - 1]
        orders = [{inputs[0]: 1}, {inputs[0]: 0}] if nearest else [{inputs[0]: 0}]
    else:
        orders = [dict(zip(inputs, (0, 1), strict=True))]
        if sources[0] == sources[1]:
            orders.append(dict(zip(inputs, (1, 0), strict=True)))
    return [_cell(view, cell, path, index, numbers) for numbers in orders]


def _cell(view: OnnxView, cell: CellFound, path: Path, index: int, inputs: dict[str, int]) -> Cell:
    """Nodes in the order of the file, which is one in which they can be computed."""
    order = sorted(cell.nodes, key=lambda value: _place(view, value))
    numbers = inputs | {value: FIRST_NODE + at for at, value in enumerate(order)}
    nodes = []
    for value in order:
        paths = []
        for trace in cell.nodes[value].paths:
            if trace.operation is None or trace.source not in numbers:
                raise BadInput(
                    f"{path}: cell {index} adds {trace.value}, which is no operation that datac "
                    "knows; datac check judges such a file against a genotype and weights"
                )
            paths.append(GenotypePath(operation=trace.operation, input=numbers[trace.source]))
        nodes.append(Node(paths=tuple(paths)))
    return Cell(nodes=tuple(nodes), output=tuple(numbers[value] for value in cell.outputs))


def _place(view: OnnxView, value: str) -> int:
    maker = view.maker(value)
    return -1 if maker is None else maker.index
