"""What `open_dataset` knows of a data set family."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datac.datasets.dataset import Dataset


@dataclass(frozen=True)
class Family:
    """`matches` only looks at names; `open` reads what it needs and refuses with BadInput."""

    looks_for: str
    matches: Callable[[Path], bool]
    open: Callable[[Path], Dataset]
