"""What a training tells at the end of each epoch."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from rich.progress import TextColumn

from datac.documents.train_result import Score
from searcher.monitor import METRICS, Monitor


@dataclass(frozen=True)
class TrainRecord:
    """One line of `metrics.jsonl`. step: of the optimiser, counted from 1; seconds: of the epoch.

    rate: the learning rate of the last step. loss: the mean over the epoch, the auxiliary head's
    share included.
    """

    step: int
    seconds: float
    loss: float
    rate: float
    score: Score
    best: bool

    def scalars(self) -> dict[str, float]:
        """Name → value, a group before the slash."""
        score = self.score
        values = {
            "loss/train": self.loss,
            "loss/val": score.loss,
            "accuracy/val": score.accuracy,
            "learning_rate": self.rate,
            "seconds": self.seconds,
        }
        if score.miou is not None:
            values["miou/val"] = score.miou
        return values | {f"iou/{name}": iou for name, iou in score.per_class_iou.items()}

    def line(self) -> str:
        """JSON; what is not a finite number is null."""
        values = {
            name: value if math.isfinite(value) else None for name, value in self.scalars().items()
        }
        record = {"epoch": self.score.epoch, "step": self.step, **values}
        return json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"

    def sentence(self, epochs: int) -> str:
        """For the terminal."""
        score = self.score
        miou = "" if score.miou is None else f"mIoU {score.miou:.3f}, "
        return (
            f"epoch {score.epoch}/{epochs}: loss {self.loss:.3f}, validation loss "
            f"{score.loss:.3f}, {miou}accuracy {score.accuracy:.3f}"
            f"{', the best so far' if self.best else ''} ({self.seconds:.0f} s)"
        )


class TrainMonitor(Monitor):
    """The search's monitor, with a training's record."""

    def __init__(self, folder: Path, *, epochs: int, steps: int, done: int, quiet: bool) -> None:
        super().__init__(folder, epochs=epochs, steps=steps, done=done, quiet=quiet)
        self._progress.columns = (TextColumn("training"), *self._progress.columns[1:])

    def trained(self, record: TrainRecord) -> None:
        """Write an epoch's line everywhere."""
        self.say(record.sentence(self._epochs))
        with (self._folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(record.line())
            file.flush()
            os.fsync(file.fileno())
        for name, value in record.scalars().items():
            self._writer.add_scalar(name, value, record.score.epoch)
        self._writer.flush()
