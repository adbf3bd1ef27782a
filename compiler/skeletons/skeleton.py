"""What a skeleton is: everything of a network but its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.candidates import Place, norm
from compiler.cell import CellPlan
from compiler.ops import Conv, Relu
from compiler.scope import Scope
from datac.documents.network import Network

Head = Callable[[Scope, str, str, Network], str]
"""(scope, features, the graph's input, network) → logits."""


@dataclass(frozen=True)
class Skeleton:
    """stem: (scope, x, network) → the two inputs of the first cell.

    plan: the cells in order. head: features to logits. auxiliary: a second head, in training
    only, on the output of cell `auxiliary_at(network)`, where that map has at least
    `smallest_auxiliary_map` rows and columns.
    """

    stem: Callable[[Scope, str, Network], tuple[str, str]]
    plan: Callable[[Network], tuple[CellPlan, ...]]
    head: Head
    auxiliary: Head
    smallest_auxiliary_map: int = 1

    @staticmethod
    def auxiliary_at(network: Network) -> int:
        """The cell that the auxiliary head reads: two thirds down (DARTS `model.py`)."""
        return 2 * network.cells // 3


def conv_norm(
    scope: Scope, index: str, x: str, channels: int, *, kernel: int = 3, stride: int = 1
) -> str:
    """Convolution with padding that keeps the size, then affine batch norm."""
    shape, reach = (kernel, kernel), (kernel // 2, kernel // 2)
    conv = Conv(scope.type(x).channels, channels, shape, (stride, stride), reach)
    return norm(scope, f"norm{index}", scope.add(f"conv{index}", conv, x), Place(channels))


def conv_norm_relu(scope: Scope, index: str, x: str, channels: int, *, kernel: int = 1) -> str:
    """Convolution, affine batch norm, ReLU."""
    normed = conv_norm(scope, index, x, channels, kernel=kernel)
    return scope.add(f"relu{index}", Relu(), normed)
