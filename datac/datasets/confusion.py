"""mIoU, per-class IoU and accuracy from one confusion matrix: of engines and of the searcher."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Confusion:
    """counts[label, prediction], summed over `update` calls; labels `ignore_index` left out.

    A class that stands in no label and in no prediction has no IoU and is left out of the mean.
    Over nothing, the measures are NaN.
    """

    classes: int
    ignore_index: int | None = None
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.classes, self.classes), dtype=np.int64)

    def update(
        self, prediction: NDArray[np.integer] | int, label: NDArray[np.integer] | int
    ) -> None:
        """Add class numbers: (H, W), (N, H, W), (N,) or single ones, both of one shape."""
        predicted, labelled = np.asarray(prediction), np.asarray(label)
        if predicted.shape != labelled.shape:
            raise ValueError(f"prediction {predicted.shape} and label {labelled.shape} differ")
        if self.ignore_index is not None:
            counted = labelled != self.ignore_index
            predicted, labelled = predicted[counted], labelled[counted]
        for name, values in (("prediction", predicted), ("label", labelled)):
            if values.size and not 0 <= values.min() <= values.max() < self.classes:
                raise ValueError(f"a {name} is outside 0..{self.classes - 1}")
        cells = labelled.astype(np.int64).ravel() * self.classes + predicted.ravel()
        self.counts += np.bincount(cells, minlength=self.classes**2).reshape(self.counts.shape)

    @property
    def per_class_iou(self) -> dict[int, float]:
        """Class → intersection / union, for every class that occurs."""
        hits = np.diagonal(self.counts)
        unions = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hits
        return {int(at): float(hits[at] / unions[at]) for at in np.flatnonzero(unions)}

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur."""
        ious = list(self.per_class_iou.values())
        return float(np.mean(ious)) if ious else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of counted labels that were predicted."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total else float("nan")
