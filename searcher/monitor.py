"""What a search tells while it runs: a line an epoch, the time left, JSON lines, TensorBoard."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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

Table = list[list[float]]


@dataclass(frozen=True)
class EpochRecord:
    """One line of `metrics.jsonl`. epoch: from 1. seconds: of this epoch.

    logits, selected: (G, n) by kind of cell, as the method's layout orders them; selected counts
    the weight steps of the epoch that ran a path. paths: the code derived at the end, by kind and
    node, as `sep_conv_3x3:1`. validation: None where the split is too small for batch statistics.
    """

    epoch: int
    steps: int
    seconds: float
    architecture_loss: float | None
    weight_loss: float
    validation: dict[str, float] | None
    temperature: float
    entropy: dict[str, float]
    paths: dict[str, list[list[str]]]
    logits: dict[str, Table] = field(default_factory=dict)
    selected: dict[str, list[list[int]]] = field(default_factory=dict)

    def line(self) -> str:
        """JSON; what is not a finite number is null."""
        return json.dumps(_finite(asdict(self)), separators=(",", ":"), allow_nan=False) + "\n"

    def sentence(self, epochs: int) -> str:
        """For the terminal."""
        measured = {
            "architecture": self.architecture_loss,
            "weights": self.weight_loss,
            **(self.validation or {}),
        }
        known = {name: value for name, value in measured.items() if value is not None}
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
        return f"epoch {self.epoch}/{epochs}: {numbers} ({self.seconds:.0f} s)"


class Monitor:
    """Opened for the whole search; `done` of `steps` are those before a resumption."""

    def __init__(self, folder: Path, *, epochs: int, steps: int, done: int, quiet: bool) -> None:
        self._folder, self._epochs = folder, epochs
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._progress = Progress(
            TextColumn("searching"),
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

    def epoch(self, record: EpochRecord) -> None:
        """Write an epoch's line everywhere."""
        self.say(record.sentence(self._epochs))
        with (self._folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(record.line())
            file.flush()
            os.fsync(file.fileno())
        scalars = {
            "loss/architecture": record.architecture_loss,
            "loss/weights": record.weight_loss,
            "temperature": record.temperature,
            **{f"entropy/{kind}": value for kind, value in record.entropy.items()},
            **{f"validation/{name}": value for name, value in (record.validation or {}).items()},
        }
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()


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
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
