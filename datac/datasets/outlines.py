"""Outlines of the embedded shapes, in whole numbers.

Each takes p and q, the coordinates along two turned axes, times the length of (a, b); `square`,
that length squared; and the radius r in pixels. So |p| <= r·length is p² <= r²·square, exactly.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.int64]
Outline = Callable[[Plane, Plane, int, int], NDArray[np.bool_]]


def disc(p: Plane, q: Plane, square: int, r: int) -> NDArray[np.bool_]:
    """p² + q² <= r², a little smaller so that areas are alike."""
    return 100 * (p * p + q * q) <= 81 * r * r * square


def box(p: Plane, q: Plane, square: int, r: int) -> NDArray[np.bool_]:
    """|p| and |q| <= 0.8 r."""
    limit = 64 * r * r * square
    return (100 * p * p <= limit) & (100 * q * q <= limit)


def triangle(p: Plane, q: Plane, square: int, r: int) -> NDArray[np.bool_]:
    """Equilateral, inner radius 0.6 r: three half planes 120 degrees apart (887/512 ~ √3)."""
    # All coordinates times 1024: u·n <= 0.6 r·length for n at 90, 210 and 330 degrees.
    sides = (1024 * q, -512 * q + 887 * p, -512 * q - 887 * p)
    limit = 36 * r * r * square * 1024 * 1024
    inside = [(side <= 0) | (100 * side * side <= limit) for side in sides]
    return inside[0] & inside[1] & inside[2]


def ring(p: Plane, q: Plane, square: int, r: int) -> NDArray[np.bool_]:
    """0.55 r <= distance <= 0.97 r: at exactly r four lone pixels would stick out."""
    distance = 400 * (p * p + q * q)
    return (121 * r * r * square <= distance) & (distance <= 376 * r * r * square)


def cross(p: Plane, q: Plane, square: int, r: int) -> NDArray[np.bool_]:
    """Two bars, 2 r long and 0.6 r wide."""
    long, wide = 100 * r * r * square, 9 * r * r * square
    pp, qq = 100 * p * p, 100 * q * q
    return ((pp <= long) & (qq <= wide)) | ((pp <= wide) & (qq <= long))


OUTLINES: dict[str, Outline] = {
    "disc": disc,
    "square": box,
    "triangle": triangle,
    "ring": ring,
    "cross": cross,
}
"""In the order of the classes."""
