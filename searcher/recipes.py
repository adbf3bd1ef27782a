"""Search recipes: facts, each with its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from datac.datasets.dataset import Dataset
from datac.documents.network import Skeleton
from datac.errors import BadInput
from searcher.device import Precision

RecipeName = Literal["default", "paper"]

ARCHITECTURE_TRAVEL = 11.7
"""How far a logit can go in the published run: 3e-4 x 39,000 steps of Adam (100 epochs of 390)."""

LARGEST_ARCHITECTURE_RATE = 0.05


@dataclass(frozen=True)
class Sizes:
    """Of a network; None where the skeleton has no such thing."""

    channels: int
    cells: int
    output_stride: Literal[8, 16, 32] | None = None
    head_channels: int | None = None


@dataclass(frozen=True)
class SearchRecipe:
    """How a search optimises.

    supernet: the sizes of the searched network. child: those that the genotype is written for;
    None for the supernet's own, so that a child can inherit its weights.
    size: (height, width) of a sample.
    warm_up: epochs at the start in which only the weights learn. At first whatever has none looks
    best, and a short search would choose skips and nothing else (PC-DARTS, arXiv 1907.05737,
    does so too; the paper does not).
    longest_epoch: steps after which an epoch ends; None for all of the data.
    architecture_rate: None for ARCHITECTURE_TRAVEL / architecture steps.
    last_architecture_rate: None for the same throughout; else the rate falls to it along a cosine,
    so that the choices of a short search come to rest (the paper's, which is long, is constant).
    temperature: at the first and at the last architecture step.
    threads: of the CPU; None for torch's own choice. With one, a seed gives the same genotype
    whatever the number of cores; on maps this small a second one gains a fifth, and costs a
    factor of ten where something else is running (measured on two cores).
    """

    supernet: Sizes
    size: tuple[int, int]
    batch_size: int
    epochs: int
    child: Sizes | None = None
    warm_up: int = 0
    longest_epoch: int | None = None
    weight_rate: float = 0.025
    last_weight_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip_norm: float = 5.0
    architecture_rate: float | None = None
    last_architecture_rate: float | None = None
    architecture_betas: tuple[float, float] = (0.5, 0.999)
    architecture_decay: float = 0.0
    temperature: tuple[float, float] = (5.0, 1.0)
    validation_samples: int = 256
    precision: Precision = "32-true"
    threads: int | None = None

    @property
    def gentler(self) -> str:
        """The option that may help where the weights of a search diverge."""
        return f"a --learning-rate below {self.weight_rate:g}"

    def architecture_rate_for(self, steps: int) -> float:
        """The first: the recipe's own, or what lets logits go as far as in the published run."""
        if self.architecture_rate is not None:
            return self.architecture_rate
        mean = ARCHITECTURE_TRAVEL / max(steps, 1)
        last = mean if self.last_architecture_rate is None else self.last_architecture_rate
        return min(2 * mean - last, LARGEST_ARCHITECTURE_RATE)


SHAPES = SearchRecipe(
    supernet=Sizes(8, 4, 8, 32),
    size=(64, 64),
    batch_size=8,
    epochs=30,
    warm_up=20,
    longest_epoch=16,
    weight_rate=0.1,
    validation_samples=64,
    threads=1,
)
"""The embedded data set on two cores: about a minute and a half."""

SEGMENTATION = SearchRecipe(
    supernet=Sizes(16, 8, 16, 64),
    size=(120, 160),
    batch_size=8,
    epochs=24,
    warm_up=14,
    longest_epoch=24,
    weight_rate=0.1,
    validation_samples=64,
    threads=1,
)
"""Street scenes on two cores (CamVid: 22 steps an epoch): about five minutes."""

CLASSIFICATION = SearchRecipe(
    supernet=Sizes(8, 6),
    size=(32, 32),
    batch_size=32,
    epochs=24,
    warm_up=14,
    longest_epoch=16,
    weight_rate=0.01,
    last_weight_rate=0.0004,
    validation_samples=256,
    threads=1,
)
"""32x32 images on two cores: about five minutes. At rates of 0.025 and more the few paths of the
first codes diverge on CIFAR-10: loss above that of chance, while 0.01 learns from the start."""

PAPER_CLASSIFICATION = SearchRecipe(
    supernet=Sizes(16, 8),
    child=Sizes(36, 20),
    size=(32, 32),
    batch_size=64,
    epochs=100,
    architecture_rate=3e-4,
    validation_samples=5000,
)
"""DATA section 4 and the authors' code, which inherit from DARTS: one GPU day."""

PAPER_SEGMENTATION = replace(
    PAPER_CLASSIFICATION,
    supernet=Sizes(16, 8, 16, 256),
    child=Sizes(48, 14, 16, 256),
    size=(224, 224),
    validation_samples=500,
)
"""The published optimisation on a task that the paper does not search on: sizes are ours."""

PAPER_IMAGENET = replace(PAPER_CLASSIFICATION, child=Sizes(48, 14), size=(224, 224))
"""Likewise, with the published sizes of the ImageNet child."""


def recipe_for(
    name: RecipeName, dataset: Dataset, skeleton: Skeleton | None = None
) -> SearchRecipe:
    """The recipe for a data set, and for the skeleton where the user named one."""
    segments = dataset.task == "segmentation"
    if skeleton is not None and (skeleton == "segmentation") != segments:
        fitting = "segmentation" if segments else "cifar"
        raise BadInput(
            f"{dataset.name} is labelled for {dataset.task}, which the {skeleton} network does "
            f"not answer; choose another data set or --network {fitting}"
        )
    if name == "paper":
        imagenet = PAPER_IMAGENET if skeleton == "imagenet" else PAPER_CLASSIFICATION
        return PAPER_SEGMENTATION if segments else imagenet
    if dataset.name == "shapes":
        return SHAPES
    if segments:
        return SEGMENTATION
    return replace(CLASSIFICATION, size=(64, 64)) if skeleton == "imagenet" else CLASSIFICATION
