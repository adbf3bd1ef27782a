"""What a loader sees of a data set: counts, sizes, shares of the classes."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from datac.datasets.dataset import Dataset
from datac.documents.dataset_summary import DatasetSummary, ImageSize, SplitSummary

SAMPLES = 100
"""How many samples of each split are read unless told otherwise."""


def describe(dataset: Dataset, samples: int = SAMPLES) -> DatasetSummary:
    """Read up to `samples` of each split, always the same ones. Raises BadInput as reading does."""
    return DatasetSummary(
        name=dataset.name,
        task=dataset.task,
        digest=dataset.digest,
        classes=dataset.classes,
        splits={split: _summary(dataset, split, samples) for split in dataset.splits},
    )


def chosen(count: int, limit: int) -> list[int]:
    """Up to `limit` of 0..count-1, ascending. Drawn, since even steps may follow the content."""
    drawn = np.random.PCG64(0).random_raw(count)
    return sorted(np.argsort(drawn, kind="stable")[:limit].tolist())


def _summary(dataset: Dataset, split: str, limit: int) -> SplitSummary:
    samples = dataset.splits[split]
    indices = chosen(len(samples), limit)
    sizes: Counter[tuple[int, int]] = Counter()
    # Label maps are bytes; only images with one class each can have more classes than those.
    slots = max(256, len(dataset.classes.names) + 1)
    counts: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
    for index in indices:
        sample = samples[index]
        sizes[sample.image.shape[0], sample.image.shape[1]] += 1
        counts += np.bincount(np.ravel(sample.label), minlength=slots)
    shares = counts / max(1, counts.sum())
    ignored = dataset.classes.ignore_index
    return SplitSummary(
        samples=len(samples),
        sampled=len(indices),
        sizes=tuple(
            ImageSize(height=height, width=width, images=images)
            for (height, width), images in sizes.most_common()
        ),
        shares=tuple(shares[: len(dataset.classes.names)].tolist()),
        ignored=0.0 if ignored is None else float(shares[ignored]),
    )
