"""Convolution and linear layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.ops.op import (
    Op,
    SourceModule,
    TensorType,
    WeightSpec,
    expect_channels,
    expect_rank,
    window_size,
)
from compiler.ops.windows import taps

if TYPE_CHECKING:
    from compiler.emitter import Emitter
    from compiler.ops.op import Array, Arrays

Pair = tuple[int, int]


@dataclass(frozen=True)
class Conv(Op):
    """Convolution over (height, width). (N, C, H, W) → (N, out_channels, H', W')."""

    in_channels: int
    out_channels: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False

    @property
    def is_pointwise(self) -> bool:
        """1x1, every output from every input; with any stride."""
        return self.kernel == (1, 1) and self.groups == 1

    @property
    def is_depthwise(self) -> bool:
        """Each channel by itself, one output each."""
        return self.groups == self.in_channels == self.out_channels > 1

    def infer(self, *operands: TensorType) -> TensorType:
        """Floor mode, symmetric padding with zeros."""
        (x,) = operands
        expect_rank(x, 4, "conv")
        expect_channels(x, self.in_channels, "conv")
        height, width = (
            window_size(x.shape[2 + axis], k, s, p, d)
            for axis, (k, s, p, d) in enumerate(
                zip(self.kernel, self.stride, self.padding, self.dilation, strict=True)
            )
        )
        return TensorType((x.shape[0], self.out_channels, height, width), x.dtype)

    def weights(self) -> dict[str, WeightSpec]:
        """`weight` (out, in / groups, kernel) and, where there is one, `bias` (out)."""
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        specs = {"weight": WeightSpec(shape)}
        if self.bias:
            specs["bias"] = WeightSpec((self.out_channels,))
        return specs

    def multiply_adds(self, *operands: TensorType) -> int:
        """One for each weight at each output position; the bias is not counted."""
        _, channels, height, width = self.infer(*operands).shape
        window = self.in_channels // self.groups * self.kernel[0] * self.kernel[1]
        return int(channels) * int(height) * int(width) * window

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """Tap by tap: a product of matrices, or of numbers where each channel is its own group."""
        import numpy as np

        (x,) = operands
        each_alone = self.groups == self.in_channels == self.out_channels
        kernel = weights["weight"].reshape(
            self.groups, -1, self.in_channels // self.groups, *self.kernel
        )
        result: Any = 0.0
        for row, column, view in taps(x, self.kernel, self.stride, self.padding, self.dilation):
            tap = kernel[..., row, column]
            if each_alone:
                result = result + view * tap.reshape(1, -1, 1, 1)
            else:
                samples, _, height, width = view.shape
                columns = view.reshape(samples, self.groups, -1, height * width)
                result = result + np.matmul(tap, columns)
        if not each_alone:
            result = result.reshape(samples, self.out_channels, height, width)
        total: Array = result + weights["bias"].reshape(1, -1, 1, 1) if self.bias else result
        return total

    def to_torch(self) -> Callable[..., Any]:
        """`nn.Conv2d`."""
        from torch import nn

        return nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias,
        )

    def source_module(self) -> SourceModule:
        """`nn.Conv2d`."""
        arguments: dict[str, Any] = {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel_size": _short(self.kernel),
            "stride": _short(self.stride),
            "padding": _short(self.padding),
            "dilation": _short(self.dilation),
            "groups": self.groups,
            "bias": self.bias,
        }
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
        return SourceModule("nn.Conv2d", arguments, defaults)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Conv`."""
        inputs = [*operands, emit.weight("weight")]
        if self.bias:
            inputs.append(emit.weight("bias"))
        return emit.node("Conv", inputs, **self.onnx_attributes())

    def onnx_attributes(self) -> dict[str, Any]:
        """Of ONNX's `Conv`."""
        return {
            "kernel_shape": list(self.kernel),
            "strides": list(self.stride),
            "pads": [*self.padding, *self.padding],
            "dilations": list(self.dilation),
            "group": self.groups,
        }


@dataclass(frozen=True)
class Linear(Op):
    """Matrix product and bias. (N, in_features) → (N, out_features)."""

    in_features: int
    out_features: int

    def infer(self, *operands: TensorType) -> TensorType:
        """(N, in_features) → (N, out_features)."""
        (x,) = operands
        expect_rank(x, 2, "linear")
        expect_channels(x, self.in_features, "linear")
        return TensorType((x.shape[0], self.out_features), x.dtype)

    def weights(self) -> dict[str, WeightSpec]:
        """`weight` (out, in) and `bias` (out)."""
        return {
            "weight": WeightSpec((self.out_features, self.in_features)),
            "bias": WeightSpec((self.out_features,)),
        }

    def multiply_adds(self, *operands: TensorType) -> int:
        """One for each weight."""
        del operands
        return self.in_features * self.out_features

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """A product of matrices, and the bias."""
        (x,) = operands
        return x @ weights["weight"].T + weights["bias"]

    def to_torch(self) -> Callable[..., Any]:
        """`nn.Linear`."""
        from torch import nn

        return nn.Linear(self.in_features, self.out_features)

    def source_module(self) -> SourceModule:
        """`nn.Linear`."""
        return SourceModule(
            "nn.Linear", {"in_features": self.in_features, "out_features": self.out_features}
        )

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Gemm` with the weight transposed, as torch stores it."""
        return emit.node("Gemm", [*operands, emit.weight("weight"), emit.weight("bias")], transB=1)


def _short(pair: Pair) -> int | Pair:
    """One number where both are the same."""
    return pair[0] if pair[0] == pair[1] else pair
