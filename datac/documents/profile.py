"""The sizes that an engine is made for: the smallest, the one it is tuned to, the largest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import model_validator

from datac.documents.document import Document

Shape = tuple[int, int, int, int]


class Profile(Document):
    """An optimisation profile, as TensorRT calls it; each shape is (N, C, H, W).

    Every size from `min` to `max` runs, each dimension by itself; `opt` is the one to be fast at.
    """

    min: Shape
    opt: Shape
    max: Shape

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        pairs = zip(self.min, self.opt, self.max, strict=True)
        if not all(1 <= low <= usual <= high for low, usual, high in pairs):
            raise ValueError("the sizes do not go from the smallest over the usual to the largest")
        if self.min[1] != self.max[1]:
            raise ValueError("the channels differ, and an engine has one number of them")
        return self

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an input of this shape lies within."""
        if len(shape) != len(self.min):
            return False
        return all(
            low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True)
        )

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """`min`, `opt` and `max`, each once."""
        return tuple(dict.fromkeys((self.min, self.opt, self.max)))

    @property
    def words(self) -> str:
        """`1x3x90x120 to 4x3x360x480`, or the one size that it is."""
        low, high = ("x".join(map(str, shape)) for shape in (self.min, self.max))
        return low if low == high else f"{low} to {high}"

    def __str__(self) -> str:
        """As `--profile` takes it."""
        return ",".join("x".join(map(str, shape)) for shape in (self.min, self.opt, self.max))


def only(shape: Sequence[int]) -> Profile:
    """Of an engine that takes this shape (N, C, H, W) and no other."""
    batch, channels, height, width = shape
    one = (batch, channels, height, width)
    return Profile(min=one, opt=one, max=one)


def half_to_twice(shape: Sequence[int]) -> Profile:
    """What an engine that is left open spans where nobody said; the channels are fixed."""
    batch, channels, height, width = shape
    return Profile(
        min=(max(1, batch // 2), channels, max(1, height // 2), max(1, width // 2)),
        opt=(batch, channels, height, width),
        max=(2 * batch, channels, 2 * height, 2 * width),
    )
