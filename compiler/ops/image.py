"""What an engine may do besides the network: an image in, class numbers out.

`model.py` holds the network alone, and so neither of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.ops.op import Op, TensorType, expect_rank

if TYPE_CHECKING:
    from compiler.emitter import Emitter
    from compiler.ops.op import Array, Arrays

INT32 = 6
"""Its number in ONNX. TensorRT has no uint8 within a network, and no int64 as fast."""


@dataclass(frozen=True)
class Prepare(Op):
    """(x - mean) · scale for each channel, channels first. (N, H, W, C) → (N, C, H, W) float32.

    reverse: the channels change their order (RGB to BGR) before that; mean and scale are in the
    order of the result. For (pixel / 255 - m) / d: mean = 255 m, scale = 1 / (255 d).
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    reverse: bool = False

    def infer(self, *operands: TensorType) -> TensorType:
        """ValueError where the image has not as many channels as there are means."""
        (x,) = operands
        expect_rank(x, 4, "prepare")
        batch, height, width, channels = x.shape
        if not len(self.mean) == len(self.scale) == channels:
            raise ValueError(f"prepare has {len(self.mean)} means for {x}")
        return TensorType((batch, channels, height, width))

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """In the operand's own type, which is to be a floating-point one."""
        import numpy as np

        del weights
        x = operands[0].transpose(0, 3, 1, 2)
        x = x[:, ::-1] if self.reverse else x
        mean, scale = (
            np.array(values, x.dtype).reshape(1, -1, 1, 1) for values in (self.mean, self.scale)
        )
        return (x - mean) * scale

    def to_torch(self) -> Callable[..., Any]:
        """A function; integers become float32."""
        import torch

        def prepare(x: Any) -> Any:
            x = x.permute(0, 3, 1, 2)
            x = x.flip(1) if self.reverse else x
            x = x if x.is_floating_point() else x.float()
            mean, scale = (
                torch.tensor(values, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1)
                for values in (self.mean, self.scale)
            )
            return (x - mean) * scale

        return prepare

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Cast` first: TensorRT-RTX transposes no uint8, and ONNX Runtime floats as fast."""
        import numpy as np

        x = emit.node("Cast", operands, part="float", to=1)
        x = emit.node("Transpose", [x], part="channels_first", perm=[0, 3, 1, 2])
        if self.reverse:
            order = np.arange(len(self.mean), dtype=np.int64)[::-1].copy()
            x = emit.node("Gather", [x, emit.constant(order, "order")], part="reversed", axis=1)
        shape = (1, -1, 1, 1)
        mean = emit.constant(np.array(self.mean, np.float32).reshape(shape), "mean")
        scale = emit.constant(np.array(self.scale, np.float32).reshape(shape), "scale")
        return emit.node("Mul", [emit.node("Sub", [x, mean], part="centred"), scale])


@dataclass(frozen=True)
class ArgMax(Op):
    """The number of the largest channel, the first of equal ones. (N, K, ...) → (N, ...) int32."""

    def infer(self, *operands: TensorType) -> TensorType:
        """Without axis 1."""
        (x,) = operands
        return TensorType((x.shape[0], *x.shape[2:]), "int32")

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """In the operand's own type."""
        del weights
        numbers: Array = operands[0].argmax(axis=1).astype(operands[0].dtype)
        return numbers

    def to_torch(self) -> Callable[..., Any]:
        """`argmax` over axis 1."""
        import torch

        return lambda x: x.argmax(1).to(torch.int32)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`ArgMax`, then `Cast`."""
        numbers = emit.node("ArgMax", operands, part="int64", axis=1, keepdims=0)
        return emit.node("Cast", [numbers], to=INT32)
