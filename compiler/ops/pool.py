"""Pooling."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.ops.op import Op, TensorType, expect_rank, window_size
from compiler.ops.windows import taps

if TYPE_CHECKING:
    from compiler.emitter import Emitter
    from compiler.ops.op import Array, Arrays


@dataclass(frozen=True)
class _WindowPool(Op):
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    def infer(self, *operands: TensorType) -> TensorType:
        """(N, C, H, W) → (N, C, H', W'), floor mode."""
        (x,) = operands
        expect_rank(x, 4, type(self).__name__)
        height, width = (
            window_size(size, self.kernel, self.stride, self.padding) for size in x.shape[2:]
        )
        return TensorType((*x.shape[:2], height, width), x.dtype)

    def _taps(self, x: Array, fill: float) -> list[Array]:
        kernel, stride, padding = (
            (size, size) for size in (self.kernel, self.stride, self.padding)
        )
        return [view for _, _, view in taps(x, kernel, stride, padding, fill=fill)]

    def _onnx_attributes(self) -> dict[str, Any]:
        return {
            "kernel_shape": [self.kernel] * 2,
            "strides": [self.stride] * 2,
            "pads": [self.padding] * 4,
        }


@dataclass(frozen=True)
class MaxPool(_WindowPool):
    """Maximum over a window; padding never wins. (N, C, H, W) → (N, C, H', W')."""

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """The largest tap."""
        import numpy as np

        del weights
        (x,) = operands
        result: Array = functools.reduce(np.maximum, self._taps(x, -np.inf))
        return result

    def to_torch(self) -> Callable[..., Any]:
        """`max_pool2d`."""
        from torch.nn import functional

        return lambda x: functional.max_pool2d(x, self.kernel, self.stride, self.padding)

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`F.max_pool2d`."""
        del module
        return f"F.max_pool2d({operands[0]}, {self.kernel}, {self.stride}, {self.padding})"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`MaxPool`."""
        return emit.node("MaxPool", operands, **self._onnx_attributes())


@dataclass(frozen=True)
class AvgPool(_WindowPool):
    """Mean over a window, padding not counted. (N, C, H, W) → (N, C, H', W')."""

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """The sum of the taps by how many of them lie on the map."""
        import numpy as np

        del weights
        (x,) = operands
        inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
        total, count = (functools.reduce(np.add, self._taps(y, 0.0)) for y in (x, inside))
        result: Array = total / count
        return result

    def to_torch(self) -> Callable[..., Any]:
        """`avg_pool2d` with `count_include_pad=False`."""
        from torch.nn import functional

        return lambda x: functional.avg_pool2d(
            x, self.kernel, self.stride, self.padding, count_include_pad=False
        )

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`F.avg_pool2d`."""
        del module
        window = f"{self.kernel}, {self.stride}, {self.padding}"
        return f"F.avg_pool2d({operands[0]}, {window}, count_include_pad=False)"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`AveragePool`."""
        return emit.node(
            "AveragePool", operands, count_include_pad=0, ceil_mode=0, **self._onnx_attributes()
        )


@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """Mean over height and width. (N, C, H, W) → (N, C, 1, 1)."""

    def infer(self, *operands: TensorType) -> TensorType:
        """(N, C, H, W) → (N, C, 1, 1)."""
        (x,) = operands
        expect_rank(x, 4, "global_avg_pool")
        return TensorType((*x.shape[:2], 1, 1), x.dtype)

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """The mean."""
        del weights
        (x,) = operands
        result: Array = x.mean(axis=(2, 3), keepdims=True)
        return result

    def to_torch(self) -> Callable[..., Any]:
        """`adaptive_avg_pool2d` to one element."""
        from torch.nn import functional

        return lambda x: functional.adaptive_avg_pool2d(x, 1)

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`F.adaptive_avg_pool2d`."""
        del module
        return f"F.adaptive_avg_pool2d({operands[0]}, 1)"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`GlobalAveragePool`."""
        return emit.node("GlobalAveragePool", operands)
