"""What every data set is: named splits of samples, and the classes of their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datac.documents.network import Classes, Task


@dataclass(frozen=True)
class Sample:
    """image: (H, W, 3) uint8 RGB. label: a class number, or (H, W) uint8 of class numbers.

    `name` says where the sample came from: a path below the data set's folder, or an index.
    """

    name: str
    image: NDArray[np.uint8]
    label: int | NDArray[np.uint8]


class Dataset(Protocol):
    """A data set family's answer. A split is read lazily: indexing loads one sample."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def task(self) -> Task:
        """What its labels are."""

    @property
    def classes(self) -> Classes:
        """Names, colours, and the label value to ignore."""

    @property
    def splits(self) -> Mapping[str, Sequence[Sample]]:
        """`train` and `val` at least; `test` where there is one."""

    @property
    def digest(self) -> str:
        """SHA-256 over what identifies the content: names and sizes of files, or the seed."""
