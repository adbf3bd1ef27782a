"""What a long run tells: a line an epoch, the time left, JSON lines, TensorBoard."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from datac.output_folder import write_beside

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"


class Record(Protocol):
    """What an epoch has to tell."""

    @property
    def epoch(self) -> int:
        """From 1."""

    def line(self) -> dict[str, Any]:
        """For `metrics.jsonl`."""

    def sentence(self, epochs: int) -> str:
        """For the terminal."""

    def scalars(self) -> dict[str, float]:
        """For TensorBoard: name → value, a group before the slash."""


class Monitor:
    """Opened for the whole run; `done` of `steps` are those before a resumption.

    doing: "searching", before the bar.
    """

    def __init__(
        self, folder: Path, doing: str, *, epochs: int, steps: int, done: int, quiet: bool
    ) -> None:
        self._folder, self._epochs = folder, epochs
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._progress = Progress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps,"),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=steps, completed=done)

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter

        first = truncate_metrics(self._folder, None)
        self._writer = SummaryWriter(str(self._folder / EVENTS), purge_step=first + 1)
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._writer.close()

    def say(self, sentence: str) -> None:
        """One line above the progress."""
        self.console.print(sentence, markup=False, soft_wrap=True)

    def advance(self) -> None:
        """One step is done."""
        self._progress.advance(self._task)

    def epoch(self, record: Record) -> None:
        """Write an epoch's line everywhere."""
        self.say(record.sentence(self._epochs))
        line = json.dumps(_finite(record.line()), separators=(",", ":"), allow_nan=False)
        with (self._folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        for name, value in record.scalars().items():
            self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()


class Silence:
    """The monitor of a process that leaves talking and writing to another one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, sentence: str) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""

    def epoch(self, record: Record) -> None:
        """Nothing."""


def truncate_metrics(folder: Path, epochs: int | None) -> int:
    """Keep the lines of the first `epochs` epochs, or all; how many there are now.

    A resumed run writes again what came after its checkpoint.
    """
    path = folder / METRICS
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    kept = lines if epochs is None else lines[:epochs]
    if len(kept) < len(lines):
        write_beside(path, b"".join(kept))
    return len(kept)


def _finite(value: Any) -> Any:
    """What is not a finite number is null."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
