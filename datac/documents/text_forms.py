"""Genotypes as other tools print them, read and written.

`Genotype(normal=..., normal_concat=..., reduce=..., reduce_concat=...)`, where a cell is one of

    flat       [('sep_conv_3x3', 0), ('skip_connect', 1), ...]           two paths a node, in order
    nested     [[('sep_conv_3x3', 0), ('skip_connect', 1)], [...], ...]  a list or tuple a node
    triples    [('sep_conv_3x3', 2, 0), ...]                             operation, node, input

A pair's third entry may be a float, its probability, which is dropped: what a cell computes does
not depend on it. `none` paths are dropped too, because in these tools they add zero to a sum; the
provenance then says how many. Such a text knows only sums, so the aggregation read is `sum`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from datac.documents.genotype import (
    FIRST_NODE,
    RECURRENT,
    Cell,
    CellKind,
    Genotype,
    Provenance,
)
from datac.documents.literals import RefusedTextError, Value, read_record
from datac.documents.sentences import first_problem, nearest, printable, quote
from datac.errors import BadInput

CALL = "Genotype"
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
OTHER_SPELLINGS = {"reduction": "reduce", "reduction_concat": "reduce_concat"}
RECURRENT_FIELDS = ("recurrent", "concat")
NONE = "none"

MOST_NODES = 1024
PATHS_PER_FLAT_NODE = 2


@dataclass(frozen=True)
class _Entry:
    """One path as the text gives it. `node` is None where the text does not say."""

    operation: str
    input: int
    node: int | None = None


def parse_text(text: str, name: str = "genotype") -> Genotype:
    """A genotype from any convolutional text form. `name` opens the sentence of a BadInput."""
    try:
        record = _record(text)
        cells = {
            "normal": _cell("normal", record["normal"], record["normal_concat"]),
            "reduction": _cell("reduction", record["reduce"], record["reduce_concat"]),
        }
    except RefusedTextError as error:
        raise BadInput(f"{name}: {printable(str(error))}") from error
    dropped = sum(_is_none(entry) for cell in cells.values() for entry in cell.entries)
    try:
        return Genotype.model_validate(
            {
                "cells": {kind: cell.document() for kind, cell in cells.items()},
                "provenance": _provenance(dropped),
            }
        )
    except ValidationError as error:
        hint = " (`none` adds zero and was dropped)" if dropped else ""
        raise BadInput(f"{name}: {first_problem(error, Genotype)}{hint}") from error


def to_text(genotype: Genotype) -> str:
    """The cells in the nested form, a node a line, with a final newline.

    Reading it back gives the same cells; aggregation, network and provenance are not in any text
    form.
    """
    lines = [f"{CALL}("]
    spellings: dict[CellKind, str] = {"normal": "normal", "reduction": "reduce"}
    for kind, field in spellings.items():
        cell = genotype.cells[kind]
        lines.append(f"    {field}=[")
        lines += [f"        {_node_text(cell, index)}," for index in range(len(cell.nodes))]
        lines += ["    ],", f"    {field}_concat={list(cell.output)},"]
    return "\n".join([*lines, ")"]) + "\n"


def _node_text(cell: Cell, index: int) -> str:
    return str([(path.operation, path.input) for path in cell.nodes[index].paths])


def _record(text: str) -> dict[str, Value]:
    """The four fields, spelt our way; extra ones whose value is None are left out."""
    given = read_record(text.strip(), CALL, FIELDS, (*OTHER_SPELLINGS, *RECURRENT_FIELDS))
    if given.get("recurrent") is not None:
        raise RefusedTextError(RECURRENT)
    record: dict[str, Value] = {}
    for key, value in given.items():
        field = OTHER_SPELLINGS.get(key, key)
        if value is None:
            continue
        if field not in FIELDS:
            raise RefusedTextError(f"unknown field {quote(key)}{nearest(key, FIELDS)}")
        if field in record:
            raise RefusedTextError(f'"{field}" stands twice')
        record[field] = value
    for field in FIELDS:
        if field not in record:
            raise RefusedTextError(f'"{field}" is missing')
    return record


@dataclass(frozen=True)
class _Cell:
    nodes: tuple[tuple[_Entry, ...], ...]
    output: Value

    @property
    def entries(self) -> tuple[_Entry, ...]:
        return tuple(entry for node in self.nodes for entry in node)

    def document(self) -> dict[str, object]:
        """What the genotype document says of this cell."""
        return {
            "nodes": [
                {
                    "paths": [
                        {"operation": entry.operation, "input": entry.input}
                        for entry in node
                        if not _is_none(entry)
                    ]
                }
                for node in self.nodes
            ],
            "output": self.output,
        }


def _is_none(entry: _Entry) -> bool:
    return entry.operation == NONE


def _provenance(dropped: int) -> Provenance | None:
    if not dropped:
        return None
    return Provenance(
        method="unknown", source=f"a text form, without its {dropped} `none`, which add zero"
    )


def _cell(kind: str, entries: Value, output: Value) -> _Cell:
    """The nodes of one cell, whichever of the three forms it has."""
    if not isinstance(entries, list):
        raise RefusedTextError(f"{kind} cell: a list of paths is needed, not {quote(entries)}")
    flat = [_is_path(entry) for entry in entries]
    if entries and all(flat):
        found = [_entry(kind, f"path {index}", value) for index, value in enumerate(entries)]
        return _Cell(_flat_nodes(kind, found), output)
    if any(flat):
        wrong = flat.index(not flat[0])
        raise RefusedTextError(
            f"{kind} cell: some entries are paths and some are lists of paths; look at entry "
            f"{wrong} (a tuple of one path needs a comma)"
        )
    nodes = [_nested_node(kind, number, node) for number, node in enumerate(entries, FIRST_NODE)]
    return _Cell(tuple(nodes), output)


def _is_path(value: Value) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _nested_node(kind: str, number: int, value: Value) -> tuple[_Entry, ...]:
    where = f"node {number}"
    if not isinstance(value, list):
        raise RefusedTextError(
            f"{kind} cell, {where}: a list of paths is needed, not {quote(value)}"
        )
    found = [_entry(kind, f"{where}, path {index}", path) for index, path in enumerate(value)]
    if any(entry.node is not None for entry in found):
        raise RefusedTextError(
            f"{kind} cell, {where}: a triple names its own node and cannot stand in a node's list"
        )
    return tuple(found)


def _entry(kind: str, where: str, value: Value) -> _Entry:
    """(operation, input), (operation, input, probability) or (operation, node, input)."""
    match value:
        case [str(operation), int(number)] if type(number) is int:
            return _Entry(operation, number)
        case [str(operation), int(number), float()] if type(number) is int:
            return _Entry(operation, number)
        case [str(operation), int(node), int(number)] if type(node) is type(number) is int:
            return _Entry(operation, number, node)
    raise RefusedTextError(
        f"{kind} cell, {where}: (operation, input) or (operation, node, input) is needed, not "
        f"{_entry_text(value)}"
    )


def _entry_text(value: Value) -> str:
    if not isinstance(value, list):
        return quote(value)
    return f"({', '.join(map(quote, value[:4]))}{', …' if len(value) > 4 else ''})"


def _flat_nodes(kind: str, entries: Sequence[_Entry]) -> tuple[tuple[_Entry, ...], ...]:
    pairs = [entry.node is None for entry in entries]
    if all(pairs):
        return _paired(kind, entries)
    if any(pairs):
        raise RefusedTextError(
            f"{kind} cell: pairs and triples are mixed; entry {pairs.index(not pairs[0])} is the "
            "first that differs"
        )
    return _grouped(kind, entries)


def _paired(kind: str, entries: Sequence[_Entry]) -> tuple[tuple[_Entry, ...], ...]:
    count, rest = divmod(len(entries), PATHS_PER_FLAT_NODE)
    if rest:
        raise RefusedTextError(
            f"{kind} cell: {len(entries)} paths in the flat form, which gives every node two; use "
            "the nested form for another number"
        )
    return tuple(
        tuple(entries[index * PATHS_PER_FLAT_NODE : (index + 1) * PATHS_PER_FLAT_NODE])
        for index in range(count)
    )


def _grouped(kind: str, entries: Sequence[_Entry]) -> tuple[tuple[_Entry, ...], ...]:
    """Triples by node, in their order; a node that none of them names has no paths."""
    named = [entry.node for entry in entries if entry.node is not None]
    if min(named) < FIRST_NODE:
        raise RefusedTextError(
            f"{kind} cell: a triple (operation, node, input) names node {min(named)}, but the "
            f"first node is {FIRST_NODE}"
        )
    if max(named) >= FIRST_NODE + MOST_NODES:
        raise RefusedTextError(f"{kind} cell: a triple names node {max(named)}, which is too many")
    nodes: list[list[_Entry]] = [[] for _ in range(FIRST_NODE, max(named) + 1)]
    for entry, number in zip(entries, named, strict=True):
        nodes[number - FIRST_NODE].append(entry)
    return tuple(map(tuple, nodes))
