"""Two embedded data sets that need no download: drawn from a seed, one image at a time.

`shapes`: 64x64, background and five overlapping shapes, to segment. `shapes-classification`:
32x32, one large shape and small clutter of the other kinds, to classify. Every kind of shape has
the same colours, and the background shares many of them: only outlines tell the classes apart.

Whole numbers only, from PCG64's raw output (whose stream numpy guarantees): every platform and
every numpy draws the same pixels, which a test pins.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from datac.datasets.dataset import Sample
from datac.datasets.outlines import OUTLINES
from datac.datasets.samples import Samples
from datac.documents.network import Classes, Task

SEED = 20191208
COUNTS = {"train": 512, "val": 128, "test": 128}
VERSION = "shapes/1"
"""Goes up when any pixel changes."""
COLORS = ((220, 60, 60), (60, 160, 70), (70, 90, 220), (230, 180, 40), (170, 70, 190))
Plane = NDArray[np.int64]


class Draws:
    """Whole numbers from the stream of one image."""

    def __init__(self, *key: int) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence(key))

    def below(self, bound: int) -> int:
        """A number n, 0 <= n < bound."""
        return (int(self._source.random_raw()) >> 32) * bound >> 32

    def between(self, low: int, high: int) -> int:
        """A number n, low <= n <= high."""
        return low + self.below(high - low + 1)

    def color(self, low: int, high: int) -> tuple[int, int, int]:
        """Each channel low..high."""
        return self.between(low, high), self.between(low, high), self.between(low, high)

    def noise(self, shape: tuple[int, ...]) -> Plane:
        """Bell-shaped, mean 0, standard deviation 148: the sum of four bytes less 510."""
        raw = np.asarray(self._source.random_raw(int(np.prod(shape)) // 2 + 1))
        octets = raw.astype("<u8").view(np.uint8).reshape(-1, 4)
        sums: Plane = octets.sum(axis=1, dtype=np.int64)[: int(np.prod(shape))] - 510
        return sums.reshape(shape)


@dataclass(frozen=True)
class Drawn(Samples):
    """A split: `draw` makes the sample of one stream."""

    split: str
    draw: Callable[[Draws, str], Sample]

    def __len__(self) -> int:
        return COUNTS[self.split]

    def load(self, index: int) -> Sample:
        """Draw it; nothing is kept."""
        stream = list(COUNTS).index(self.split)
        return self.draw(Draws(SEED, stream, index), f"{self.split}/{index}")

    def identity(self) -> Iterator[str]:
        """The version and the seed decide everything."""
        yield f"{VERSION} seed {SEED} {self.split} {len(self)}"


@dataclass(frozen=True)
class Shapes:
    """Either data set."""

    name: str
    task: Task
    classes: Classes
    splits: dict[str, Drawn]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over version, seed and counts."""
        lines = [self.name, *(line for split in self.splits.values() for line in split.identity())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def segmentation() -> Shapes:
    """64x64; class 0 is the background."""
    classes = Classes(names=("background", *OUTLINES), colors=((0, 0, 0), *COLORS))
    splits = {name: Drawn(name, _scene) for name in COUNTS}
    return Shapes("shapes", "segmentation", classes, splits)


def classification() -> Shapes:
    """32x32; the class is that of the large shape."""
    classes = Classes(names=tuple(OUTLINES), colors=COLORS)
    splits = {name: Drawn(name, _portrait) for name in COUNTS}
    return Shapes("shapes-classification", "classification", classes, splits)


def _scene(draws: Draws, name: str) -> Sample:
    """Two to four shapes, later ones over earlier ones."""
    size = 64
    image, ground = _background(draws, size)
    label = np.zeros((size, size), dtype=np.uint8)
    for _ in range(draws.between(2, 4)):
        kind = draws.below(len(OUTLINES))
        mask = _outline(draws, kind, size, radius=(10, 18), margin=8)
        _paint(draws, image, mask, ground)
        label[mask] = kind + 1
    return Sample(name, _with_noise(draws, image), label)


def _portrait(draws: Draws, name: str) -> Sample:
    """One large shape near the middle, small ones of other kinds over it and around it."""
    size = 32
    image, ground = _background(draws, size)
    kind = draws.below(len(OUTLINES))
    _paint(draws, image, _outline(draws, kind, size, radius=(9, 13), margin=12), ground)
    for _ in range(draws.between(2, 4)):
        other = (kind + draws.between(1, len(OUTLINES) - 1)) % len(OUTLINES)
        _paint(draws, image, _outline(draws, other, size, radius=(2, 4), margin=2), ground)
    return Sample(name, _with_noise(draws, image), kind)


def _grid(size: int) -> tuple[Plane, Plane]:
    """(y, x), each (size, size)."""
    rows, columns = np.indices((size, size), dtype=np.int64)
    return rows, columns


def _background(draws: Draws, size: int) -> tuple[Plane, tuple[int, int, int]]:
    """(size, size, 3): slanted bands that fade between two colours; and the first colour."""
    rows, columns = _grid(size)
    ground = draws.color(0, 175)
    other = tuple(_near(draws, part, 40) for part in ground)
    across, down, period = draws.between(-4, 4), draws.between(-4, 4), draws.between(24, 72)
    phase = (rows * down + columns * across + draws.below(period)) % period
    # A triangle wave, 0..256 and back.
    fade = np.abs(phase * 512 // period - 256)[:, :, None]
    return (np.array(ground) * fade + np.array(other) * (256 - fade)) // 256, ground


def _near(draws: Draws, part: int, reach: int) -> int:
    return min(255, max(0, part + draws.between(-reach, reach)))


def _outline(
    draws: Draws, kind: int, size: int, radius: tuple[int, int], margin: int
) -> NDArray[np.bool_]:
    """(size, size) mask of one shape, turned by a random angle, its centre `margin` from edges."""
    rows, columns = _grid(size)
    y = rows - draws.between(margin, size - 1 - margin)
    x = columns - draws.between(margin, size - 1 - margin)
    # The direction (a, b) turns the axes by any angle, without a cosine.
    a, b = draws.between(1, 32), draws.between(-32, 32)
    outline = list(OUTLINES.values())[kind]
    return outline(x * a + y * b, y * a - x * b, a * a + b * b, draws.between(*radius))


def _paint(
    draws: Draws, image: Plane, mask: NDArray[np.bool_], ground: tuple[int, int, int]
) -> None:
    """Fill the mask with bands of one colour, any that is brighter than the background."""
    color = draws.color(32, 255)
    while sum(color) < sum(ground) + 120:
        color = draws.color(32, 255)
    rows, columns = _grid(len(mask))
    across, down = draws.between(-3, 3), draws.between(-3, 3)
    shade = (rows * down + columns * across) % 16 - 8
    image[mask] = np.array(color) + 2 * shade[mask][:, None]


def _with_noise(draws: Draws, image: Plane) -> NDArray[np.uint8]:
    """Standard deviation 8 of 255."""
    noisy = image + draws.noise(image.shape) * 8 // 148
    pixels: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return pixels
