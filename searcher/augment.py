"""Batches of a data set's split, and the augmentation of those that train.

Everything random in a batch comes from (seed, epoch, step), so a run that is resumed sees what it
would have seen. The operations are kornia's functions; its augmentation classes are not used,
because they draw from torch's global generator. Where several processes share a batch, each reads
and alters its own samples only, to what they become in a process alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_saturation_with_gray_subtraction,
)
from kornia.geometry.transform import warp_affine
from numpy.typing import NDArray
from torch import Tensor

from datac.datasets.dataset import Sample
from datac.datasets.preprocess import resize_image, resize_label
from datac.documents.network import Preprocessing, Task
from datac.documents.sentences import counted
from datac.errors import BadInput

IGNORED = -100
"""The label of what does not count, in every batch, whatever value the data set has for it."""

CACHE_BYTES = 2 * 1024**3
"""A split is decoded once and kept, at the size of its batches, where that needs no more."""

MOST_READERS = 8
CROP_PADDING = 8
"""Side over padding of the random crop: 4 pixels at 32, as published for CIFAR-10."""

Labels = NDArray[np.uint8] | NDArray[np.int64]
"""Maps (n, H, W) are bytes; single classes (n,) may be more than bytes can number."""

Pixels = tuple[NDArray[np.uint8], Labels]
"""Images (n, H, W, 3), and labels with the data set's own value to ignore."""


@dataclass(frozen=True, eq=False)
class Batch:
    """images: (N, 3, H, W) float32. labels: (N,) or (N, H, W) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far samples are altered. Every sample is also flipped, or not, with even chances.

    `cutout` (classification): side of the square that is blanked, in pixels; 0 for none.
    `scales` (segmentation): the range of the random scale, by default that of DeepLab v3
    (arXiv 1706.05587, section 4.1). `colour` (segmentation): brightness, contrast and saturation
    change by up to this share.
    """

    cutout: int = 0
    scales: tuple[float, float] = (0.5, 2.0)
    colour: float = 0.2


@dataclass(frozen=True)
class Share:
    """What process `rank` of `size` takes of every batch: samples that lie side by side in it."""

    rank: int = 0
    size: int = 1

    def of(self, count: int) -> slice:
        """Where they lie in a batch of so many."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)


@dataclass(frozen=True, eq=False)
class _Draws:
    """Random numbers for all `count` samples of a batch, of which `part` uses its own."""

    random: np.random.Generator
    count: int
    part: slice


@dataclass(frozen=True, eq=False)
class Batches:
    """A split in batches, every image resized to `size` = (H, W).

    With `augment` the order is drawn anew in every epoch and every sample is altered; without it,
    for a validation, the order is the split's and nothing is altered. `ignore_index` is the data
    set's label value that does not count; it becomes IGNORED, and so does what a window shows
    beyond the border of an image. `drop_last` leaves out the last, smaller batch, except where it
    is the only one. `channels_last` is how images lie in memory, no more. `share`: of each batch.
    """

    split: Sequence[Sample]
    _: KW_ONLY
    task: Task
    preprocessing: Preprocessing
    size: tuple[int, int]
    batch_size: int
    seed: int
    augment: bool
    ignore_index: int | None
    classes: int
    drop_last: bool = True
    augmentation: Augmentation = Augmentation()
    channels_last: bool = True
    share: Share = Share()

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole if whole and (self.drop_last or not rest) else whole + 1

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch, the same at every call with this number."""
        order = np.arange(len(self.split))
        if self.augment:
            order = np.random.default_rng((self.seed, number)).permutation(order)
        for step in range(len(self)):
            random = np.random.default_rng((self.seed, number, step, 1))
            indices = order[step * self.batch_size : (step + 1) * self.batch_size]
            part = self.share.of(len(indices))
            draws = _Draws(random, len(indices), part)
            yield self._batch(*self._pixels(indices[part]), draws)

    def _batch(self, images: NDArray[np.uint8], labels: Labels, draws: _Draws) -> Batch:
        how = self.augmentation
        segments = self.task == "segmentation"
        y = self._numbered(labels)
        if self.augment and not segments:
            images = _cropped(images, draws)
        x = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
        if self.augment and segments:
            x = _recoloured(x, how.colour, draws)
        x = self._normalised(x)
        # After this, 0 is the mean colour: what padding and cutout show.
        if self.augment and segments:
            x, y = _warped(x, y, how.scales, draws)
        elif self.augment and how.cutout:
            _cut_out(x, how.cutout, draws)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return Batch(x.contiguous(memory_format=layout), y)

    def _numbered(self, labels: Labels) -> Tensor:
        numbers = torch.from_numpy(labels.astype(np.int64))
        if self.ignore_index is not None:
            numbers[numbers == self.ignore_index] = IGNORED
        if numbers.numel() and int(numbers.max()) >= self.classes:
            raise BadInput(
                f"label {int(numbers.max())} is outside the "
                f"{counted(self.classes, 'class', 'classes')} of the network"
            )
        return numbers

    def _normalised(self, x: Tensor) -> Tensor:
        """As `datac.datasets.preprocess.preprocess`, to the last bit."""
        how = self.preprocessing
        ordered = x.flip(1) if how.color_order == "BGR" else x
        mean = torch.tensor(how.mean, dtype=torch.float32).view(1, -1, 1, 1)
        deviation = torch.tensor(how.standard_deviation, dtype=torch.float32).view(1, -1, 1, 1)
        return (ordered - mean) / deviation

    def _pixels(self, indices: NDArray[np.int64]) -> Pixels:
        """Of the samples at `indices`."""
        height, width = self.size
        if len(self.split) * height * width * 4 > CACHE_BYTES:
            return self._read(indices)
        images, labels = self._stored
        return images[indices], labels[indices]

    @cached_property
    def _stored(self) -> Pixels:
        return self._read(np.arange(len(self.split)))

    def _read(self, indices: NDArray[np.int64]) -> Pixels:
        """Decode and resize, in several threads: pillow lets go of Python's lock meanwhile."""
        images = np.empty((len(indices), *self.size, 3), dtype=np.uint8)
        labels: Labels = (
            np.empty((len(indices), *self.size), dtype=np.uint8)
            if self.task == "segmentation"
            else np.empty(len(indices), dtype=np.int64)
        )

        def read(at: int) -> None:
            sample = self.split[int(indices[at])]
            images[at] = resize_image(sample.image, self.size)
            label = sample.label
            labels[at] = label if isinstance(label, int) else resize_label(label, self.size)

        with ThreadPoolExecutor(min(MOST_READERS, os.cpu_count() or 1)) as readers:
            for _ in readers.map(read, range(len(indices))):
                pass  # what a reader raised is raised here
        return images, labels


# ---------------------------------------------------------------- classification


def _cropped(images: NDArray[np.uint8], draws: _Draws) -> NDArray[np.uint8]:
    """A window of the zero-padded image, flipped or not. (n, H, W, 3) → the same."""
    height, width = images.shape[1:3]
    down, across = (max(1, side // CROP_PADDING) for side in (height, width))
    padded = np.pad(images, ((0, 0), (down, down), (across, across), (0, 0)))
    result = np.empty_like(images)
    random = draws.random
    windows = [
        (random.integers(2 * down + 1), random.integers(2 * across + 1), random.random() < 0.5)
        for _ in range(draws.count)
    ]
    for at, (top, left, flip) in enumerate(windows[draws.part]):
        window = padded[at, top : top + height, left : left + width]
        result[at] = window[:, ::-1] if flip else window
    return result


def _cut_out(x: Tensor, side: int, draws: _Draws) -> None:
    """Set a square around a random pixel to 0, in place; part of it may lie outside.

    x: (N, C, H, W). DeVries, Taylor, arXiv 1708.04552, as in DARTS `utils.py:Cutout`.
    """
    height, width = x.shape[2:]
    random = draws.random
    centres = [(random.integers(height), random.integers(width)) for _ in range(draws.count)]
    for image, (down, across) in zip(x, centres[draws.part], strict=True):
        top, left = int(down) - side // 2, int(across) - side // 2
        image[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0


# ---------------------------------------------------------------- segmentation


def _recoloured(x: Tensor, share: float, draws: _Draws) -> Tensor:
    """Other saturation, contrast and brightness for each sample. (N, 3, H, W) RGB in 0..1."""
    factors = draws.random.uniform(1 - share, 1 + share, (3, draws.count))[:, draws.part]
    saturation, contrast, brightness = torch.from_numpy(factors).to(torch.float32)
    x = adjust_saturation_with_gray_subtraction(x, saturation)
    x = adjust_contrast_with_mean_subtraction(x, contrast)
    return cast("Tensor", adjust_brightness_accumulative(x, brightness))


def _warped(
    x: Tensor, y: Tensor, scales: tuple[float, float], draws: _Draws
) -> tuple[Tensor, Tensor]:
    """A random scale and window, flipped or not, of the same size. (N, 3, H, W) and (N, H, W).

    Images bilinear, with 0 beyond the border; labels nearest, with IGNORED.
    """
    matrices = _windows((x.shape[2], x.shape[3]), draws.count, scales, draws.random)[draws.part]
    warped = warp_affine(x, matrices, x.shape[2:], mode="bilinear", padding_mode="zeros")
    # 0 is what lies beyond the border, so classes are counted from 1.
    counted = (y + 1).clamp(min=0).to(torch.float32)[:, None]
    found = warp_affine(counted, matrices, x.shape[2:], mode="nearest", padding_mode="zeros")
    labels = found[:, 0].to(torch.int64) - 1
    return warped, labels.masked_fill_(labels < 0, IGNORED)


def _windows(
    size: tuple[int, int], count: int, scales: tuple[float, float], draws: np.random.Generator
) -> Tensor:
    """(count, 2, 3): from a pixel's (x, y) before to the one after.

    Where the scale s is above 1 the window lies anywhere inside the image, else the image lies
    anywhere inside the window: centres differ by up to |1 - 1/s| of half a side.
    """
    scale = draws.uniform(*scales, count)
    slack = np.abs(1 - 1 / scale)
    flip = np.where(draws.random(count) < 0.5, -1.0, 1.0)
    matrices = np.zeros((count, 2, 3), dtype=np.float32)
    for axis, side, factor in ((0, size[1], scale * flip), (1, size[0], scale)):
        middle = (side - 1) / 2
        shift = draws.uniform(-slack, slack) * side / 2
        matrices[:, axis, axis] = factor
        matrices[:, axis, 2] = middle - factor * (middle + shift)
    return torch.from_numpy(matrices)
