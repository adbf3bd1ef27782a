"""What torchrun tells each process that it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Of one process among `size`, numbered from 0; `local` are those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


ALONE = Place()
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def own_place() -> Place:
    """Of this process; ALONE where torchrun, or something that says what it says, started none."""
    told = [os.environ.get(name, "") for name in _VARIABLES]
    return Place(*map(int, told)) if all(text.isdecimal() for text in told) else ALONE
