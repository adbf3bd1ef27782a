"""What a training tells at the end of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datac.documents.train_result import Score


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
        """For TensorBoard: name → value, a group before the slash."""
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

    @property
    def epoch(self) -> int:
        """From 1."""
        return self.score.epoch

    def line(self) -> dict[str, Any]:
        """For `metrics.jsonl`."""
        return {"epoch": self.epoch, "step": self.step, **self.scalars()}

    def sentence(self, epochs: int) -> str:
        """For the terminal."""
        score = self.score
        miou = "" if score.miou is None else f"mIoU {score.miou:.3f}, "
        return (
            f"epoch {score.epoch}/{epochs}: loss {self.loss:.3f}, validation loss "
            f"{score.loss:.3f}, {miou}accuracy {score.accuracy:.3f}"
            f"{', the best so far' if self.best else ''} ({self.seconds:.0f} s)"
        )
