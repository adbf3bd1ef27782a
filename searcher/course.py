"""A finished search read back: its result, and its logits at the end of each epoch.

The checkpoint holds the logits too, but it is a pickle, which runs what is in it when it is read;
`metrics.jsonl` holds the same numbers to the last digit, and those of every epoch before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from datac.documents.genotype import CellKind
from datac.documents.read import MIB, read_bytes, read_json
from datac.documents.search_result import SearchResult
from datac.documents.sentences import counted, first_problem
from datac.errors import BadInput
from datac.output_folder import state_of
from searcher.gumbel import Layout
from searcher.monitor import METRICS
from searcher.outcome import RESULT

LARGEST_METRICS_BYTES = 1024 * MIB
"""An epoch's line has about 10 kB."""


@dataclass(frozen=True, eq=False)
class Course:
    """What a search was and where its logits went.

    epochs, steps: those done at the end of each line. logits: (E, G, n) by kind of cell, G and n
    as `layout` orders them; E lines.
    """

    result: SearchResult
    layout: Layout
    epochs: tuple[int, ...]
    steps: tuple[int, ...]
    logits: dict[CellKind, NDArray[np.float64]]

    @property
    def steps_of_last_epoch(self) -> int:
        """Mini-batches between the last two lines."""
        return self.steps[-1] - (self.steps[-2] if len(self.steps) > 1 else 0)

    def agreeing_since(self, agrees: Iterable[bool]) -> int:
        """The first epoch of the last unbroken row that agrees; `agrees`: the last epoch first."""
        since = self.epochs[-1]
        for epoch, same in zip(reversed(self.epochs), agrees, strict=True):
            if not same:
                break
            since = epoch
        return since


class _Line(BaseModel):
    """What is needed of a line; see `SearchRecord`."""

    epoch: int = Field(ge=1)
    steps: int = Field(ge=1)
    logits: dict[CellKind, list[list[FiniteFloat]]]


def read_course(folder: Path) -> Course:
    """Read RUN. BadInput where it is not a finished search whose files belong together."""
    _check_finished(folder)
    result = read_json(folder / RESULT, SearchResult)
    layout = Layout(result.space.candidates, result.space.nodes, result.granularity)
    path = folder / METRICS
    raw = read_bytes(path, LARGEST_METRICS_BYTES).splitlines()
    lines = [_line(line, f"{path}: line {number}") for number, line in enumerate(raw, start=1)]
    if [line.epoch for line in lines] != list(range(1, result.epochs + 1)):
        raise BadInput(
            f"{path}: does not hold the {counted(result.epochs, 'epoch')} of the search, one a "
            "line; search again"
        )
    return Course(
        result=result,
        layout=layout,
        epochs=tuple(line.epoch for line in lines),
        steps=tuple(line.steps for line in lines),
        logits={kind: _table(lines, kind, layout, path) for kind in result.genotype.cells},
    )


def _check_finished(folder: Path) -> None:
    state = state_of(folder)
    if state is None:
        raise BadInput(f"{folder} is not the folder of a search; name one that datac search wrote")
    kind, finished = state
    if kind != "run":
        raise BadInput(f"{folder} holds a {kind}, not a run; name a folder of datac search")
    if not finished:
        raise BadInput(
            f"{folder} holds an unfinished run; the same datac search with --resume finishes it"
        )


def _line(raw: bytes, shown: str) -> _Line:
    try:
        return _Line.model_validate(json.loads(raw))
    except ValidationError as error:
        problem = first_problem(error, _Line)
    except (ValueError, RecursionError):
        problem = "not JSON"
    raise BadInput(f"{shown}: {problem}; the file is damaged, search again")


def _table(lines: list[_Line], kind: CellKind, layout: Layout, path: Path) -> NDArray[np.float64]:
    """The logits of one kind of cell, (E, G, n)."""
    groups, columns = layout.shape
    for line in lines:
        rows = line.logits.get(kind, [])
        if len(rows) != groups or any(len(row) != columns for row in rows):
            raise BadInput(
                f"{path}: line {line.epoch}: the logits of the {kind} cell are not "
                f"{groups} lists of {columns}, as the search space of {RESULT} asks; the files "
                "are not of one search"
            )
    return np.array([line.logits[kind] for line in lines], dtype=np.float64)
