"""What a primitive operation is: a frozen dataclass whose fields are its attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compiler.emitter import Emitter

    Array = NDArray[np.floating[Any]]
    Arrays = Mapping[str, Array]

Dim = int | str
"""A size, or the name of one that is only known when the network runs (`N`)."""


@dataclass(frozen=True)
class TensorType:
    """Shape of any rank, and element type as numpy spells it."""

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    @property
    def channels(self) -> int:
        """Size of axis 1."""
        size = self.shape[1]
        if isinstance(size, str):
            raise ValueError(f"{self} has no fixed number of channels")
        return size

    def __str__(self) -> str:
        return f"{self.dtype}({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class WeightSpec:
    """A tensor that belongs to a node. A buffer (`trainable=False`) is no parameter."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    trainable: bool = True


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-adds for one sample (convolutions, linear layers)."""

    parameters: int = 0
    multiply_adds: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)


@dataclass(frozen=True)
class SourceModule:
    """The constructor call of a stateful operation in `model.py`.

    `defaults` are the constructor's own: an argument that equals them everywhere is left out.
    """

    constructor: str
    arguments: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)


class Op:
    """One primitive operation. Every operation yields one tensor, so a node is its value.

    Subclasses are frozen dataclasses. What is not stated here is stated in `infer`.
    """

    def infer(self, *operands: TensorType) -> TensorType:
        """The type of the result; ValueError where the operands do not fit."""
        raise NotImplementedError

    def weights(self) -> dict[str, WeightSpec]:
        """Its tensors by the names that torch gives them."""
        return {}

    def multiply_adds(self, *operands: TensorType) -> int:
        """Multiply-adds for one sample."""
        del operands
        return 0

    def cost(self, *operands: TensorType) -> Cost:
        """Parameters and multiply-adds."""
        parameters = sum(_product(spec.shape) for spec in self.weights().values() if spec.trainable)
        return Cost(parameters, self.multiply_adds(*operands))

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """The result in numpy, in the operands' own type; `weights` by the names of `weights`."""
        raise NotImplementedError

    def to_torch(self) -> Callable[..., Any]:
        """A torch module where there are weights or a training mode, otherwise a function."""
        raise NotImplementedError

    def source_module(self) -> SourceModule | None:
        """What `model.py` constructs for it, if it is stateful."""
        return None

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """The expression of `model.py` that computes it; `module` is the constructed module."""
        return f"{module}({', '.join(operands)})"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """Write it, and answer with the name of the value."""
        raise NotImplementedError


def expect_rank(operand: TensorType, rank: int, what: str) -> None:
    """ValueError unless `operand` has `rank` axes."""
    if len(operand.shape) != rank:
        raise ValueError(f"{what} takes a tensor of rank {rank}, not {operand}")


def expect_channels(operand: TensorType, channels: int, what: str) -> None:
    """ValueError unless axis 1 has `channels` entries."""
    if operand.channels != channels:
        raise ValueError(f"{what} takes {channels} channels, not {operand.channels}")


def window_size(size: Dim, kernel: int, stride: int, padding: int, dilation: int = 1) -> Dim:
    """How many windows fit along one axis (floor mode)."""
    if isinstance(size, str):
        raise ValueError(f"a window needs a known size, not {size}")
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    if reach < 0:
        raise ValueError(f"a window of {kernel} does not fit on a size of {size}")
    return reach // stride + 1


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
