"""Windows over height and width, tap by tap: what convolutions and pools compute in numpy with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.ops.op import Array

Pair = tuple[int, int]


def taps(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1), fill: float = 0.0
) -> Iterator[tuple[int, int, Array]]:
    """(row, column) of each tap, and what every window sees there: (N, C, H, W) → (N, C, H', W').

    Outside the map lies `fill`. What is yielded may share its memory with `x`.
    """
    import numpy as np

    (up, left), (height, width) = padding, x.shape[2:]
    padded = x
    # By hand: np.pad's own work is more than the copy where a map is small.
    if up or left:
        padded = np.empty((*x.shape[:2], height + 2 * up, width + 2 * left), x.dtype)
        padded[:, :, :up] = padded[:, :, up + height :] = fill
        padded[..., :left] = padded[..., left + width :] = fill
        padded[:, :, up : up + height, left : left + width] = x
    rows, columns = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip((height, width), kernel, stride, padding, dilation, strict=True)
    )
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            top, side = row * dilation[0], column * dilation[1]
            yield (
                row,
                column,
                padded[
                    :,
                    :,
                    top : top + (rows - 1) * stride[0] + 1 : stride[0],
                    side : side + (columns - 1) * stride[1] + 1 : stride[1],
                ],
            )
