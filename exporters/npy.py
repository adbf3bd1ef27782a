"""An .npy file in memory → its array, without believing the size that its header declares."""

from __future__ import annotations

import io
import math
import tokenize

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

NUMBERS = "fiub"
"""Kinds of element: floating point, integers, truth values. No objects, which are pickles."""

UNREADABLE = (
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    OverflowError,
    RecursionError,
    KeyError,
    tokenize.TokenError,
)
"""What numpy raises on a header that is none: it parses a Python literal, and a literal that does
not parse once more without the suffixes of Python 2, by tokens."""


def read_npy(raw: bytes) -> NDArray[np.generic]:
    """ValueError for anything but one whole array of numbers. Nothing is unpickled."""
    file = io.BytesIO(raw)
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an .npy file of version {version}")
    shape, by_columns, dtype = read(file)
    if dtype.kind not in NUMBERS:
        raise ValueError(f"an array of {dtype}, not of numbers")
    held, wanted = len(raw) - file.tell(), math.prod(shape) * dtype.itemsize
    if held != wanted or any(size < 0 for size in shape):
        raise ValueError(f"an array of {shape} declares {wanted} bytes and holds {held}")
    flat: NDArray[np.generic] = np.frombuffer(raw, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if by_columns else "C").copy()
