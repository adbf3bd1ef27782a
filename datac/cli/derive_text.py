"""A derivation for a person: the verdict and its reasons, a row a node, the genotypes written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as FilePath

from rich.table import Table
from rich.text import Text

from datac.cli.terminal import output
from datac.documents.derivation import Derivation, Move, NodeDerivation
from datac.documents.genotype import CellKind, Path
from datac.documents.sentences import counted

COLORS = {"decided": "green", "not decided": "yellow"}
MOST_LISTED = 10
"""Genotypes; the document lists all."""


def print_derivation(derivation: Derivation, folder: FilePath) -> None:
    """To standard output."""
    console = output()
    console.print(
        Text(derivation.verdict.upper(), f"bold {COLORS[derivation.verdict]}"),
        Text(derivation.genotype_hash[:12], "dim"),
    )
    for reason in derivation.reasons:
        console.print(Text(f"- {reason}"))
    console.print()
    console.print(Text(_probability(derivation)))
    console.print(Text(_entropy(derivation)))
    console.print()
    console.print(_nodes(derivation))
    console.print()
    console.print(_top(derivation))
    if derivation.top[1:] and derivation.top[1].probability > derivation.top[0].probability:
        console.print(
            "The second is more probable than the first: the rule compares codes, and a child is "
            "two of them, with none and without."
        )
    files = counted(len(derivation.top), "genotype")
    console.print(
        f"wrote {files} and derivation.json to {folder}",
        markup=False,
        soft_wrap=True,
    )


def _probability(derivation: Derivation) -> str:
    cells = " x ".join(f"{kind} {cell.probability:.3g}" for kind, cell in derivation.cells.items())
    draws = counted(derivation.draws, "draw")
    return f"probability in {draws} a node: {derivation.probability:.3g} = {cells}"


def _entropy(derivation: Derivation) -> str:
    """From the first epoch to the last, the mean over the nodes."""
    first, last = derivation.entropy[0], derivation.entropy[-1]
    courses = ", ".join(
        f"{kind} {_mean(first.nodes[kind]):.2f} to {_mean(last.nodes[kind]):.2f}"
        for kind in last.nodes
    )
    return f"entropy from epoch {first.epoch} to {last.epoch}, 1 is uniform: {courses}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _nodes(derivation: Derivation) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("node")
    table.add_column("paths")
    for title in ("probability", "x uniform", "next best", "margin"):
        table.add_column(title, justify="right")
    table.add_column("a logit's move that changes it")
    for title in ("entropy", "travel", "since epoch"):
        table.add_column(title, justify="right")
    for kind, cell in derivation.cells.items():
        for node in cell.nodes:
            table.add_row(*_row(kind, node))
    return table


def _row(kind: CellKind, node: NodeDerivation) -> list[Text]:
    uniform = node.probability / node.uniform_probability if node.uniform_probability else 0.0
    cells = (
        f"{kind} {node.node}",
        _paths(node.paths),
        f"{node.probability:.3g}",
        f"{uniform:.3g}",
        f"{node.runner_up_probability:.3g}",
        f"{node.margin:.2g}",
        _move(node.smallest_move),
        f"{node.entropy:.2f}",
        f"{node.travel_ratio:.2f}",
        str(node.chosen_since),
    )
    return [Text(cell) for cell in cells]


def _paths(paths: Sequence[Path]) -> str:
    return " + ".join(f"{path.operation}({path.input})" for path in paths)


def _move(move: Move | None) -> str:
    if move is None:
        return "none of 10 or less"
    where = move.operation if move.input is None else f"{move.operation}({move.input})"
    return f"{where} by {move.by:+.3f}"


def _top(derivation: Derivation) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("genotype")
    table.add_column("probability", justify="right")
    table.add_column("differs in")
    for entry in derivation.top[:MOST_LISTED]:
        nodes = ", ".join(f"{name.cell} {name.node}" for name in entry.differs_in)
        table.add_row(entry.file, f"{entry.probability:.3g}", nodes or "the search's own")
    rest = len(derivation.top) - MOST_LISTED
    if rest > 0:
        table.add_row(f"and {rest} more", "", "")
    return table
