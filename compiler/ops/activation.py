"""Element-wise activations, sums and scales, and what only acts while training."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.ops.op import Op, TensorType

if TYPE_CHECKING:
    from compiler.emitter import Emitter
    from compiler.ops.op import Array, Arrays


@dataclass(frozen=True)
class _SameShape(Op):
    def infer(self, *operands: TensorType) -> TensorType:
        """The type of the one operand."""
        (x,) = operands
        return x


@dataclass(frozen=True)
class Relu(_SameShape):
    """max(x, 0). Same shape."""

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """max(x, 0)."""
        import numpy as np

        del weights
        return np.maximum(operands[0], 0)

    def to_torch(self) -> Callable[..., Any]:
        """`relu`, not in place: the operand may have other users."""
        from torch.nn import functional

        return functional.relu

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`F.relu`."""
        del module
        return f"F.relu({operands[0]})"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Relu`."""
        return emit.node("Relu", operands)


@dataclass(frozen=True)
class Identity(_SameShape):
    """x: the stride-1 skip, a node of its own so that the path has a name. Same shape."""

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """The operand itself."""
        del weights
        return operands[0]

    def to_torch(self) -> Callable[..., Any]:
        """The operand itself."""
        return lambda x: x

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """The operand itself."""
        del module
        return operands[0]

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Identity`, which every runtime removes."""
        return emit.node("Identity", operands)


@dataclass(frozen=True)
class Sum(Op):
    """x_0 + x_1 + ..., from left to right. One operand or more of the same type."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The type that all operands share."""
        if len(set(operands)) != 1:
            raise ValueError(f"sum takes operands of one type, not {', '.join(map(str, operands))}")
        return operands[0]

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """Additions in the order of the operands."""
        del weights
        return functools.reduce(operator.add, operands)

    def to_torch(self) -> Callable[..., Any]:
        """Additions in the order of the operands."""
        return lambda *operands: functools.reduce(operator.add, operands)

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """Additions in the order of the operands."""
        del module
        return " + ".join(operands)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """A chain of `Add`: never slower than `Sum` (docs/performance.md)."""
        if len(operands) == 1:
            return emit.node("Identity", operands)
        total = operands[0]
        for index, operand in enumerate(operands[1:], start=1):
            part = "" if index == len(operands) - 1 else f"add{index}"
            total = emit.node("Add", [total, operand], part=part)
        return total


@dataclass(frozen=True)
class Scale(_SameShape):
    """x · factor. Same shape."""

    factor: float = 1.0

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """A product with a number."""
        del weights
        return operands[0] * self.factor

    def to_torch(self) -> Callable[..., Any]:
        """A product with a number."""
        return lambda x: x * self.factor

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """A product with a number."""
        del module
        return f"({operands[0]}) * {self.factor!r}"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Mul` by a scalar."""
        import numpy as np

        factor = emit.constant(np.array(self.factor, np.float32), "factor")
        return emit.node("Mul", [*operands, factor])


@dataclass(frozen=True)
class _TrainingOnly(_SameShape):
    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """The operand itself: numpy runs inference alone."""
        del weights
        return operands[0]

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """The operand itself: `model.py` is for inference."""
        del module
        return operands[0]

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """A graph for inference holds no such node (`lower` leaves it out)."""
        del emit, operands
        raise ValueError(f"{type(self).__name__} acts while training and is not exported")


@dataclass(frozen=True)
class Dropout(_TrainingOnly):
    """Zero with probability `rate`, the rest scaled by 1 / (1 - rate); training only."""

    rate: float = 0.5

    def to_torch(self) -> Callable[..., Any]:
        """`nn.Dropout`."""
        from torch import nn

        return nn.Dropout(self.rate)


@dataclass(frozen=True)
class DropPath(_TrainingOnly):
    """A whole path of a sample becomes zero, the rest is scaled up; training only.

    One Bernoulli draw per path and sample (DATA-NAS `model_gumbel.py`, after FractalNet). The
    rate follows the schedule of the training, so it is no attribute.
    """

    def to_torch(self) -> Callable[..., Any]:
        """The module whose `rate` the training sets."""
        from compiler.torch_module import DropPathModule

        return DropPathModule()
