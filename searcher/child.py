"""What the training of a child is made of: its network, its batches, its optimiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from datac.datasets.dataset import Dataset
from datac.datasets.preprocess import published_preprocessing
from datac.documents.network import Network
from datac.errors import BadInput
from searcher.augment import Batches
from searcher.train_recipes import Recipe

CHANNELS_LAST_FROM = 8
"""Channels of the first cell from which tensors lie with their channels last in memory.

A step takes a tenth less processor time so (C = 16 at 180x240, one thread). With fewer channels
torch 2.13 writes beyond a buffer in the backward of a 1x1 convolution of stride 2 to 2 or 3
channels.
"""

SMALLEST_BATCH = 2
"""The image pooling of the segmentation head leaves one value a sample to its batch norm."""


def batches_of(
    dataset: Dataset, network: Network, recipe: Recipe, seed: int, *, training: bool
) -> Batches:
    """Of the split `train`, augmented, or of `val`, as it is.

    Loads a batch, so that damaged data is refused before anything is written.
    """
    split = dataset.splits["train" if training else "val"]
    if training and len(split) < SMALLEST_BATCH:
        raise BadInput(f"{dataset.name}: one training sample is too few to train on")
    batches = Batches(
        split,
        task=dataset.task,
        preprocessing=network.preprocessing or published_preprocessing(dataset),
        size=(network.input[1], network.input[2]),
        batch_size=recipe.batch_size,
        seed=seed,
        augment=training,
        ignore_index=dataset.classes.ignore_index,
        classes=network.classes,
        drop_last=training,
        augmentation=recipe.augmentation,
        channels_last=network.channels >= CHANNELS_LAST_FROM,
    )
    next(batches.epoch(0))
    return batches


def batch_format(network: Network) -> torch.memory_format:
    """How batches lie in memory."""
    last = network.channels >= CHANNELS_LAST_FROM
    return torch.channels_last if last else torch.contiguous_format


def laid_out(module: nn.Module, network: Network) -> nn.Module:
    """The module, its weights laid out in memory as the batches are."""
    return module.to(memory_format=batch_format(network))  # type: ignore[call-overload, no-any-return]


def optimiser_of(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """As the recipe says. AdamW spares scales, shifts and biases, as is usual with it."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            module.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    kernels = [weight for weight in module.parameters() if weight.dim() > 1]
    others = [weight for weight in module.parameters() if weight.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
