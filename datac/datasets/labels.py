"""From what a label file holds (numbers or colours) to class numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datac.datasets.pixels import read_colors, read_numbers
from datac.documents.network import Classes, Color
from datac.errors import BadInput

MAX_VALUE = 65535
"""The largest number a 16-bit label file can hold."""


class LabelReader(Protocol):
    """Reads one label file."""

    def read(self, path: Path) -> NDArray[np.uint8]:
        """(H, W) class numbers, the ignored pixels as the ignore index."""


@dataclass(frozen=True)
class NumberLabels:
    """Label files that hold numbers. `classes_by_value`: number in the file → class number."""

    classes_by_value: Mapping[int, int]

    def read(self, path: Path) -> NDArray[np.uint8]:
        """(H, W) class numbers; a number that stands for no class is refused."""
        numbers = read_numbers(path)
        # One slot behind the last stands for every number that the table does not reach.
        found = self._table[np.clip(numbers, -1, len(self._table) - 1)]
        if found.min() < 0:
            row, column = (int(at) for at in np.argwhere(found < 0)[0])
            raise BadInput(
                f"{path}: label value {numbers[row, column]} at row {row}, column {column} is "
                f"outside the classes (known values: {_spans(sorted(self.classes_by_value))})"
            )
        classes: NDArray[np.uint8] = found.astype(np.uint8)
        return classes

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        table = np.full(max(255, *self.classes_by_value) + 2, -1, dtype=np.int16)
        for value, number in self.classes_by_value.items():
            table[value] = number
        return table


@dataclass(frozen=True)
class ColorLabels:
    """Label files that hold colours. `classes_by_color`: RGB → class number."""

    classes_by_color: Mapping[Color, int]

    def read(self, path: Path) -> NDArray[np.uint8]:
        """(H, W) class numbers; a colour that stands for no class is refused."""
        codes = read_colors(path).astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
        known, numbers = self._table
        at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        strange = known[at] != codes
        if strange.any():
            row, column = (int(at) for at in np.argwhere(strange)[0])
            code = int(codes[row, column])
            raise BadInput(
                f"{path}: label colour {code >> 16, code >> 8 & 255, code & 255} at row {row}, "
                f"column {column} is outside the colours of the classes"
            )
        return numbers[at]

    @cached_property
    def _table(self) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        pairs = sorted((r << 16 | g << 8 | b, n) for (r, g, b), n in self.classes_by_color.items())
        codes = np.array([code for code, _ in pairs], dtype=np.int32)
        return codes, np.array([number for _, number in pairs], dtype=np.uint8)


def plain_labels(classes: Classes) -> NumberLabels:
    """Files that already hold class numbers, and the ignore index where there is one."""
    values = {number: number for number in range(len(classes.names))}
    if classes.ignore_index is not None:
        values[classes.ignore_index] = classes.ignore_index
    return NumberLabels(values)


def _spans(values: list[int]) -> str:
    """Sorted numbers as runs: [0, 1, 2, 255] → '0..2, 255'."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
