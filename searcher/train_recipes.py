"""Recipes of the retraining, as data with their sources."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from datac.documents.network import Skeleton
from searcher.augment import Augmentation
from searcher.device import Precision

RecipeName = Literal["default", "paper"]

AS_PUBLISHED = Augmentation()
POLY_POWER = 0.9
"""arXiv 1706.05587, section 4.1."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a child is trained.

    `schedule`: what the learning rate does after `warm_up` (a share of all steps, in which it
    rises linearly): falls to 0 along a cosine, or as (1 - progress) ** 0.9 (`poly`).
    `drop_path`: the rate that path dropout reaches at the end, rising linearly from 0.
    `auxiliary`: the weight of the auxiliary head's loss. `clip_norm`: of the gradient.
    """

    source: str
    epochs: int
    batch_size: int
    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    weight_decay: float
    schedule: Literal["cosine", "poly"]
    warm_up: float = 0.0
    momentum: float = 0.9
    clip_norm: float = 5.0
    auxiliary: float = 0.4
    drop_path: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation = AS_PUBLISHED
    precision: Precision = "32-true"

    @property
    def gentler(self) -> str:
        """The option that may help where a training diverges."""
        return f"a --learning-rate below {self.learning_rate:g}"

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of a training of `steps`."""
        rising = self.warm_up * steps
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        left = 1 - (step - rising) / (steps - rising)
        if self.schedule == "poly":
            return self.learning_rate * math.pow(left, POLY_POWER)
        return self.learning_rate * (1 - math.cos(math.pi * left)) / 2

    def drop_path_at(self, epoch: int) -> float:
        """The rate of path dropout in an epoch, counted from 0 (DARTS `train.py`)."""
        return self.drop_path * epoch / self.epochs

    def as_options(self) -> dict[str, str | int | float]:
        """Every setting by name, for the record."""
        settings = asdict(self)
        low, high = self.augmentation.scales
        settings |= settings.pop("augmentation") | {"scales": f"{low:g} to {high:g}"}
        return settings


_PAPER: dict[Skeleton, Recipe] = {
    "cifar": Recipe(
        source="DATA (NeurIPS 2019) section 4.1: epochs, batch, cutout, path dropout, auxiliary "
        "weight; the authors' code (XinbangZhang/DATA-NAS, train_gumbel.py): the optimiser, with "
        "rate 0.035 where DARTS has 0.025; clip and schedule: DARTS train.py",
        epochs=600,
        batch_size=96,
        optimiser="sgd",
        learning_rate=0.035,
        weight_decay=3e-4,
        schedule="cosine",
        drop_path=0.2,
        augmentation=Augmentation(cutout=16),
    ),
    "imagenet": Recipe(
        source="DATA (NeurIPS 2019) section 4.2: epochs, batch, decay, poly from 0.1; label "
        "smoothing 0.1, auxiliary weight, clip: DARTS train_imagenet.py; the power 0.9 is ours",
        epochs=250,
        batch_size=128,
        optimiser="sgd",
        learning_rate=0.1,
        weight_decay=3e-5,
        schedule="poly",
        label_smoothing=0.1,
    ),
    "segmentation": Recipe(
        source="DATA names no more than the head. DeepLab v3 (arXiv 1706.05587) section 4.1: "
        "batch 16, poly 0.9 from 0.007, scales 0.5 to 2, 30,000 steps, which are 45 epochs of the "
        "10,582 images of trainaug; decay and clip as on CIFAR-10",
        epochs=45,
        batch_size=16,
        optimiser="sgd",
        learning_rate=0.007,
        weight_decay=3e-4,
        schedule="poly",
    ),
}

_CLASSIFICATION = Recipe(
    source="ours, for minutes on a CPU",
    epochs=20,
    batch_size=64,
    optimiser="adamw",
    learning_rate=4e-3,
    weight_decay=0.05,
    schedule="cosine",
    warm_up=0.1,
)

_DEFAULT: dict[Skeleton, Recipe] = {
    "cifar": _CLASSIFICATION,
    "imagenet": _CLASSIFICATION,
    "segmentation": Recipe(
        source="ours, for about ten minutes on two cores (CamVid at 180x240, C = 16, 8 cells)",
        epochs=40,
        batch_size=8,
        optimiser="adamw",
        learning_rate=4e-3,
        weight_decay=0.05,
        schedule="poly",
        warm_up=0.1,
    ),
}

RECIPES: dict[RecipeName, dict[Skeleton, Recipe]] = {"default": _DEFAULT, "paper": _PAPER}
"""By name and skeleton."""
