"""A profile by kernel, added up by path, node or cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from datac.documents.layer_profile import KernelTime, LayerProfile

By = Literal["kernel", "path", "node", "cell", "genotype"]

CELL = re.compile(r"^cell(\d+)")
UNATTRIBUTED = "the runtime's own (changes of layout and type)"
DEPTHS: dict[By, int] = {"genotype": 4, "path": 4, "node": 2, "cell": 1}
"""Level → how many segments of `cell3/node2/path0/sep_conv_3x3` it keeps."""


@dataclass(frozen=True)
class LayerRow:
    """Parts of the network that share kernels, and what these cost together.

    parts: none for what cannot be attributed. share: of the time of all kernels.
    """

    parts: tuple[str, ...]
    kernels: int
    median_ms: float
    share: float

    @property
    def title(self) -> str:
        """The parts, joined; a group is never divided."""
        return " + ".join(self.parts) or UNATTRIBUTED


def layer_rows(profile: LayerProfile, by: By) -> list[LayerRow]:
    """The dearest first, what cannot be attributed last.

    A kernel belongs to the group of all parts that went into it. Where one lies within another at
    this level (a node's sum in the kernel of its last path), both are named.
    """
    groups: dict[tuple[str, ...], list[KernelTime]] = {}
    for kernel in profile.kernels:
        parts = _group(kernel, by, profile.cell_kinds)
        groups.setdefault(parts, []).append(kernel)
    total = sum(kernel.median_ms for kernel in profile.kernels) or 1.0
    rows = [
        LayerRow(parts, len(those), _sum(those), _sum(those) / total)
        for parts, those in groups.items()
    ]
    return sorted(rows, key=lambda row: (not row.parts, -row.median_ms))


def _group(kernel: KernelTime, by: By, kinds: Sequence[str]) -> tuple[str, ...]:
    """genotype: a path together with the same one of all cells of its kind."""
    if by == "kernel":
        return (kernel.name,)
    parts = _parts(kernel.origins, DEPTHS[by])
    if by != "genotype":
        return parts
    return tuple(dict.fromkeys(sorted(CELL.sub(lambda m: kinds[int(m[1])], p) for p in parts)))


def _parts(origins: Iterable[str], depth: int) -> tuple[str, ...]:
    """`cell3/node2/path0/sep_conv_3x3` at depth 2 → `cell3/node2`; what is in no cell as it is."""
    cut = {
        "/".join(origin.split("/")[:depth]) if origin.startswith("cell") else origin
        for origin in origins
    }
    return tuple(sorted(cut, key=_order))


def _order(part: str) -> tuple[object, ...]:
    """`cell10` after `cell9`."""
    return tuple(
        (segment.rstrip("0123456789"), int(digits) if digits else -1)
        for segment in part.split("/")
        for digits in [segment[len(segment.rstrip("0123456789")) :]]
    )


def _sum(kernels: Iterable[KernelTime]) -> float:
    return sum(kernel.median_ms for kernel in kernels)
