"""int8: a value rounded to one of 256 steps, and a convolution whose weights are such.

Both compute what the ONNX pair `QuantizeLinear`, `DequantizeLinear` means: real = scale · (integer
- zero point). Only the graphs of int8 engines hold them, and `model.py` never does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from compiler.ops.conv import Conv
from compiler.ops.op import Op, SourceModule, TensorType, WeightSpec

if TYPE_CHECKING:
    from compiler.emitter import Emitter
    from compiler.ops.op import Array, Arrays

LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
"""Integer type → its least and its greatest number."""


@dataclass(frozen=True)
class Quantize(Op):
    """x to the nearest step, ties to even, and back: scale · (clip(round(x / scale) + z) - z).

    z: `zero_point`, the integer that stands for 0. Same shape and type.
    """

    scale: float = 1.0
    zero_point: int = 0
    dtype: str = "uint8"

    def infer(self, *operands: TensorType) -> TensorType:
        """The type of the one operand; ValueError for numbers that the integer type has not."""
        (x,) = operands
        if self.dtype not in LIMITS:
            raise ValueError(f"quantize to {self.dtype}: choose {' or '.join(LIMITS)}")
        low, high = LIMITS[self.dtype]
        if not (low <= self.zero_point <= high and 0 < self.scale < float("inf")):
            raise ValueError(f"quantize: zero point {self.zero_point}, scale {self.scale}")
        return x

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest real number that it can hold."""
        low, high = LIMITS[self.dtype]
        return (low - self.zero_point) * self.scale, (high - self.zero_point) * self.scale

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """In the operand's own type."""
        import numpy as np

        del weights
        return np.clip(self.steps(operands[0]), *self.range)

    def steps(self, x: Array) -> Array:
        """X to the nearest step, however many of them that takes."""
        import numpy as np

        result: Array = np.rint(x / self.scale) * self.scale
        return result

    def to_torch(self) -> Callable[..., Any]:
        """A function of tensors; its gradient is 0, as nothing is trained through it."""
        import torch

        low, high = self.range
        return lambda x: torch.clamp(torch.round(x / self.scale) * self.scale, low, high)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`QuantizeLinear`, then `DequantizeLinear`."""
        import numpy as np

        scale = emit.constant(np.array(self.scale, np.float32), "scale")
        zero = emit.constant(np.array(self.zero_point, np.dtype(self.dtype)), "zero_point")
        integer = emit.node("QuantizeLinear", [*operands, scale, zero], part="q")
        return emit.node("DequantizeLinear", [integer, scale, zero])


@dataclass(frozen=True)
class QuantizedConv(Conv):
    """A convolution whose weights are int8, one scale for each output channel.

    bias_type: int32 in steps of the operand's scale times the weights' (what ONNX Runtime fuses
    with), or float32 (what TensorRT takes).
    """

    bias_type: str = "int32"

    def weights(self) -> dict[str, WeightSpec]:
        """Integers, and the scales (out_channels,) that they are multiplied by."""
        specs = {
            key: WeightSpec(spec.shape, "int8" if key == "weight" else self.bias_type, False)
            for key, spec in super().weights().items()
        }
        specs["weight_scale"] = WeightSpec((self.out_channels,), trainable=False)
        if self._bias_is_integer:
            specs["bias_scale"] = WeightSpec((self.out_channels,), trainable=False)
        return specs

    @property
    def _bias_is_integer(self) -> bool:
        return self.bias and self.bias_type == "int32"

    def real(self, weights: Arrays) -> dict[str, Array]:
        """`weight` and `bias` as the convolution reads them."""
        scale = weights["weight_scale"].reshape(-1, 1, 1, 1)
        result: dict[str, Array] = {"weight": weights["weight"] * scale}
        if self.bias:
            bias = weights["bias"]
            result["bias"] = bias * weights["bias_scale"] if self._bias_is_integer else bias
        return result

    def plain(self) -> Conv:
        """The convolution that reads the real weights."""
        return Conv(**{part.name: getattr(self, part.name) for part in fields(Conv)})

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """That of a convolution with the real weights."""
        return super().compute(self.real(weights), *operands)

    def to_torch(self) -> Callable[..., Any]:
        """A module whose buffers bear the names of the weights."""
        from compiler.torch_module import QuantizedConvModule

        return QuantizedConvModule(self)

    def source_module(self) -> SourceModule:
        """None: `model.py` holds what was trained, never an engine's graph."""
        raise NotImplementedError("model.py has no quantised convolutions")

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Conv` on the dequantised weights."""
        inputs = [*operands, self._dequantised(emit, "weight")]
        if self.bias:
            whole = self._bias_is_integer
            inputs.append(self._dequantised(emit, "bias") if whole else emit.weight("bias"))
        return emit.node("Conv", inputs, **self.onnx_attributes())

    def _dequantised(self, emit: Emitter, suffix: str) -> str:
        import numpy as np

        dtype = np.dtype(self.weights()[suffix].dtype)
        zeros = emit.constant(np.zeros(self.out_channels, dtype), f"{suffix}_zero_point")
        integers = [emit.weight(suffix), emit.weight(f"{suffix}_scale"), zeros]
        return emit.node("DequantizeLinear", integers, part=suffix, axis=0)
