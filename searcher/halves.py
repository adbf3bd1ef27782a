"""The training data in two halves, for the weights and for the architecture, or in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from datac.datasets.dataset import Dataset, Sample
from datac.datasets.preprocess import published_preprocessing
from datac.documents.network import Network
from datac.errors import BadInput
from datac.torchrun import Place
from searcher.augment import Augmentation, Batches, Share
from searcher.child import CHANNELS_LAST_FROM, SMALLEST_BATCH
from searcher.recipes import SearchRecipe

STREAM = 1 << 32
"""Seeds are below it: with it added, the two halves are shuffled and altered independently."""


@dataclass(frozen=True)
class Part(Sequence[Sample]):
    """Some samples of a split, in the order of `indices`; indexing loads one."""

    source: Sequence[Sample]
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return Part(self.source, self.indices[index])
        return self.source[self.indices[index]]


@dataclass(frozen=True)
class Splits:
    """Batches of both halves and of the validation split. steps: in an epoch.

    architecture: None where the weights have all of the data.
    validation: None where one sample is all there is, since a code is validated by the
    statistics of the batch.
    """

    weights: Batches
    architecture: Batches | None
    validation: Batches | None
    steps: int


WHOLE = Share()


def share_of_batches(batch_size: int, place: Place) -> Share:
    """What one process takes of every batch. BadInput where it cannot be divided evenly."""
    fewest = SMALLEST_BATCH * place.size
    if place.size > 1 and (batch_size % place.size or batch_size < fewest):
        raise BadInput(
            f"--batch-size {batch_size} is shared by {place.size} processes, each of which needs "
            f"the same number of samples, {SMALLEST_BATCH} or more; give a multiple of "
            f"{place.size} from {fewest} on, or start fewer processes"
        )
    return Share(place.rank, place.size)


def split_in_halves(
    dataset: Dataset, network: Network, recipe: SearchRecipe, seed: int, share: Share = WHOLE
) -> Splits:
    """A random half each, the same for the same seed; what is odd goes to the weights.

    Loads a batch of each, so that damaged data is refused before anything is written.
    """
    train = dataset.splits["train"]
    half = len(train) // 2
    if half < recipe.batch_size:
        raise BadInput(
            f"{dataset.name}: half of its {len(train)} training samples are fewer than a batch of "
            f"{recipe.batch_size}; give a --batch-size of {half} or less"
            if half > 1
            else f"{dataset.name}: {len(train)} training samples cannot be halved into batches"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    first, second = sorted(order[half:].tolist()), sorted(order[:half].tolist())
    weights, architecture = (
        _batches(Part(train, tuple(indices)), dataset, network, recipe, stream, share=share)
        for indices, stream in ((first, seed), (second, seed + STREAM))
    )
    return _splits(weights, architecture, dataset, network, recipe)


def keep_whole(
    dataset: Dataset, network: Network, recipe: SearchRecipe, seed: int, share: Share = WHOLE
) -> Splits:
    """All of the training data for the weights. Loads a batch of each split, too."""
    count = len(dataset.splits["train"])
    if count < recipe.batch_size:
        raise BadInput(
            f"{dataset.name}: its {count} training samples are fewer than a batch of "
            f"{recipe.batch_size}; give a --batch-size of {count} or less"
        )
    part = Part(dataset.splits["train"], tuple(range(count)))
    weights = _batches(part, dataset, network, recipe, seed, share=share)
    return _splits(weights, None, dataset, network, recipe)


def _splits(
    weights: Batches,
    architecture: Batches | None,
    dataset: Dataset,
    network: Network,
    recipe: SearchRecipe,
) -> Splits:
    validation = _validation(dataset, network, recipe)
    for batches in filter(None, (weights, architecture, validation)):
        next(batches.epoch(0))
    shorter = min(len(batches) for batches in (weights, architecture) if batches is not None)
    steps = min(shorter, recipe.longest_epoch or shorter)
    return Splits(weights, architecture, validation, steps)


def _validation(dataset: Dataset, network: Network, recipe: SearchRecipe) -> Batches | None:
    """Samples from all over the split, mixed and in whole batches.

    A folder of images is sorted by class: unmixed, the statistics of a batch would be those of one
    class, which no batch of the search has.
    """
    val = dataset.splits["val"]
    if len(val) < 2:
        return None
    count = min(recipe.validation_samples, len(val))
    indices = np.linspace(0, len(val) - 1, count).round().astype(int)
    mixed = np.random.default_rng(0).permutation(indices)
    part = Part(val, tuple(mixed.tolist()))
    return _batches(part, dataset, network, recipe, 0, augment=False)


def _batches(
    part: Part,
    dataset: Dataset,
    network: Network,
    recipe: SearchRecipe,
    seed: int,
    *,
    augment: bool = True,
    share: Share = WHOLE,
) -> Batches:
    return Batches(
        part,
        task=dataset.task,
        preprocessing=network.preprocessing or published_preprocessing(dataset),
        size=(network.input[1], network.input[2]),
        batch_size=recipe.batch_size,
        seed=seed,
        augment=augment,
        ignore_index=dataset.classes.ignore_index,
        classes=network.classes,
        augmentation=Augmentation(),
        channels_last=network.channels >= CHANNELS_LAST_FROM,
        share=share,
    )
