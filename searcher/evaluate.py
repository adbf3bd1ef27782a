"""Loss, and what a module is worth on a validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from datac.datasets.confusion import Confusion
from datac.documents.network import Task
from searcher.augment import IGNORED, Batches

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits, labels) → the mean over what counts."""


@dataclass(frozen=True)
class Evaluation:
    """`accuracy` is the share of samples, or of pixels, that are right.

    `miou` and `per_class_iou` (segmentation) are over the classes that stand in a label or a
    prediction: the measures of the engines, `datac.datasets.confusion`. NaN where nothing counts.
    """

    task: Task
    loss: float
    accuracy: float
    miou: float | None = None
    per_class_iou: dict[int, float] = field(default_factory=dict)

    @property
    def metric(self) -> float:
        """The number that decides which weights are best: mIoU, or accuracy."""
        return self.accuracy if self.miou is None else self.miou

    @property
    def metric_name(self) -> str:
        """What that number is called."""
        return "accuracy" if self.miou is None else "miou"


def loss_for(ignore_index: int = IGNORED, label_smoothing: float = 0.0) -> Loss:
    """Cross-entropy. (N, K) and (N,), or (N, K, H, W) and (N, H, W).

    A batch in which nothing counts gives 0, not NaN: padding alone can fill a small batch.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        total = functional.cross_entropy(
            logits if logits.dtype == torch.float64 else logits.float(),
            labels,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction="sum",
        )
        return total / (labels != ignore_index).sum().clamp(min=1)

    return loss


def evaluate(module: nn.Module, batches: Batches, classes: int, task: Task) -> Evaluation:
    """The module in eval mode over all of `batches`, wherever the module is; its mode is kept."""
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            return _measure(module, batches, classes, task)
    finally:
        module.train(training)


def _measure(module: nn.Module, batches: Batches, classes: int, task: Task) -> Evaluation:
    device = next(module.parameters()).device
    counts = torch.zeros((classes, classes), dtype=torch.int64, device=device)
    loss, losses, count = loss_for(), torch.zeros((), device=device), 0
    for batch in batches.epoch(0):
        labels = batch.labels.to(device)
        logits = main_output(module(batch.images.to(device)))
        losses += loss(logits, labels) * len(labels)
        count += len(labels)
        counts += _counts(logits.argmax(1), labels, classes)
    confusion = Confusion(classes, IGNORED)
    confusion.counts += counts.cpu().numpy()
    segmentation = task == "segmentation"
    return Evaluation(
        task,
        float(losses) / max(count, 1),
        confusion.accuracy,
        confusion.miou if segmentation else None,
        confusion.per_class_iou if segmentation else {},
    )


def _counts(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """counts[label, prediction], where the tensors are: a GPU need not wait for each batch."""
    ignored = classes**2
    cells = torch.where(labels == IGNORED, ignored, labels * classes + predicted)
    return torch.bincount(cells.ravel(), minlength=ignored + 1)[:-1].reshape(classes, classes)


def main_output(result: Tensor | dict[str, Tensor]) -> Tensor:
    """The logits of a module that may have an auxiliary head."""
    return result["logits"] if isinstance(result, dict) else result
