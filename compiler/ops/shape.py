"""Operations that move data: input, cast, concatenation, shift, resize, flatten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.ops.op import Dim, Op, TensorType, expect_rank

if TYPE_CHECKING:
    from compiler.emitter import Emitter
    from compiler.ops.op import Array, Arrays


@dataclass(frozen=True)
class Input(Op):
    """A named input of the graph; it has no operands, and its node bears the input's name."""

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    def infer(self, *operands: TensorType) -> TensorType:
        """What it declares."""
        if operands:
            raise ValueError("input takes no operands")
        return TensorType(self.shape, self.dtype)


ONNX_TYPES = {"float32": 1, "float16": 10, "bfloat16": 16}
"""Element type → its number in ONNX."""


@dataclass(frozen=True)
class Cast(Op):
    """x in another floating-point type, rounded to nearest. Same shape."""

    dtype: str = "float32"

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the one operand; ValueError for a type that no engine computes in."""
        (x,) = operands
        if self.dtype not in ONNX_TYPES:
            raise ValueError(f"cast to {self.dtype}: choose {', '.join(ONNX_TYPES)}")
        return TensorType(x.shape, self.dtype)

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """The operand itself: numpy runs all of a graph in one type, and rounding is a question."""
        del weights
        return operands[0]

    def to_torch(self) -> Callable[..., Any]:
        """`to`."""
        import torch

        dtype = getattr(torch, self.dtype)
        return lambda x: x.to(dtype)

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`to`."""
        del module
        return f"{operands[0]}.to(torch.{self.dtype})"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Cast`."""
        return emit.node("Cast", operands, to=ONNX_TYPES[self.dtype])


@dataclass(frozen=True)
class Concat(Op):
    """Operands one behind the other along the channels. (N, C_i, H, W) → (N, ΣC_i, H, W)."""

    def infer(self, *operands: TensorType) -> TensorType:
        """All but the channels must agree."""
        if len({(x.shape[0], x.shape[2:], x.dtype) for x in operands}) != 1:
            raise ValueError(f"concat does not fit: {', '.join(map(str, operands))}")
        first = operands[0]
        channels = sum(x.channels for x in operands)
        return TensorType((first.shape[0], channels, *first.shape[2:]), first.dtype)

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """Along axis 1."""
        import numpy as np

        del weights
        return np.concatenate(operands, axis=1)

    def to_torch(self) -> Callable[..., Any]:
        """`cat` along axis 1."""
        import torch

        return lambda *operands: torch.cat(operands, 1)

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`torch.cat`."""
        del module
        return f"torch.cat([{', '.join(operands)}], 1)"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Concat` along axis 1."""
        return emit.node("Concat", operands, axis=1)


@dataclass(frozen=True)
class ChannelSlice(Op):
    """Some of the channels: begin, begin + step, ... below end. (N, C, H, W) → (N, C', H, W)."""

    begin: int
    end: int
    step: int = 1

    def infer(self, *operands: TensorType) -> TensorType:
        """ValueError for channels that the operand does not have."""
        (x,) = operands
        if not (0 <= self.begin < self.end <= x.channels and self.step >= 1):
            raise ValueError(f"{x} has no channels {self.begin}:{self.end}:{self.step}")
        count = len(range(self.begin, self.end, self.step))
        return TensorType((x.shape[0], count, *x.shape[2:]), x.dtype)

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """Along axis 1."""
        del weights
        return operands[0][:, self.begin : self.end : self.step]

    def to_torch(self) -> Callable[..., Any]:
        """A slice."""
        return lambda x: x[:, self.begin : self.end : self.step]

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """A slice."""
        del module
        return f"{operands[0]}[:, {self.begin} : {self.end} : {self.step}]"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Slice` along axis 1."""
        import numpy as np

        numbers = {"starts": self.begin, "ends": self.end, "axes": 1, "steps": self.step}
        constants = [emit.constant(np.array([n], np.int64), part) for part, n in numbers.items()]
        return emit.node("Slice", [*operands, *constants])


@dataclass(frozen=True)
class Shift(Op):
    """y[i, j] = x[i + 1, j + 1], zero where that lies outside. Same shape.

    The second half of the stride-2 skip reads the map from its second row and column. The authors
    slice without padding and fail on odd maps; with one zero row and column at the end the result
    is theirs on even maps and has the right size on odd ones.
    """

    def infer(self, *operands: TensorType) -> TensorType:
        """(N, C, H, W) → the same."""
        (x,) = operands
        expect_rank(x, 4, "shift")
        return x

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """A copy that lacks the first row and column, and ends in zeros."""
        import numpy as np

        del weights
        result = np.zeros_like(operands[0])
        result[:, :, :-1, :-1] = operands[0][:, :, 1:, 1:]
        return result

    def to_torch(self) -> Callable[..., Any]:
        """Pad, then slice."""
        from torch.nn import functional

        return lambda x: functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """Pad, then slice."""
        del module
        return f"F.pad({operands[0]}, (0, 1, 0, 1))[:, :, 1:, 1:]"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Pad` and `Slice` with constants only, which every runtime takes at every size."""
        import numpy as np

        pads = emit.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64), "pads")
        padded = emit.node("Pad", [*operands, pads], part="pad")
        starts = emit.constant(np.array([1, 1], np.int64), "starts")
        ends = emit.constant(np.array([np.iinfo(np.int64).max] * 2, np.int64), "ends")
        axes = emit.constant(np.array([2, 3], np.int64), "axes")
        return emit.node("Slice", [padded, starts, ends, axes])


@dataclass(frozen=True)
class PadEnd(Op):
    """A row and a column of zeros behind the last. (N, C, H, W) → (N, C, H + 1, W + 1)."""

    def infer(self, *operands: TensorType) -> TensorType:
        """One more of both."""
        (x,) = operands
        expect_rank(x, 4, "pad_end")
        if not all(isinstance(size, int) for size in x.shape[2:]):
            raise ValueError(f"pad_end needs a known size, not {x.shape[2:]}")
        height, width = (int(size) + 1 for size in x.shape[2:])
        return TensorType((*x.shape[:2], height, width), x.dtype)

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """`numpy.pad`."""
        import numpy as np

        del weights
        return np.pad(operands[0], ((0, 0), (0, 0), (0, 1), (0, 1)))

    def to_torch(self) -> Callable[..., Any]:
        """`functional.pad`."""
        from torch.nn import functional

        return lambda x: functional.pad(x, (0, 1, 0, 1))

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`functional.pad`."""
        del module
        return f"F.pad({operands[0]}, (0, 1, 0, 1))"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Pad`, which runtimes make a part of the convolution that reads it."""
        import numpy as np

        pads = emit.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64), "pads")
        return emit.node("Pad", [*operands, pads])


@dataclass(frozen=True)
class ResizeLike(Op):
    """Bilinear to the height and width of the second operand, corners not aligned.

    (N, C, H, W), (N, *, H', W') → (N, C, H', W').
    """

    def infer(self, *operands: TensorType) -> TensorType:
        """Channels of the first, size of the second."""
        x, like = operands
        expect_rank(x, 4, "resize_like")
        expect_rank(like, 4, "resize_like")
        return TensorType((*x.shape[:2], *like.shape[2:]), x.dtype)

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """One axis after the other, each a mean of two neighbours by their distance."""
        del weights
        x, like = operands
        return _resize(_resize(x, like.shape[2], 2), like.shape[3], 3)

    def to_torch(self) -> Callable[..., Any]:
        """`interpolate`."""
        from torch.nn import functional

        return lambda x, like: functional.interpolate(
            x, size=like.shape[2:], mode="bilinear", align_corners=False
        )

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`F.interpolate`."""
        del module
        x, like = operands
        return f'F.interpolate({x}, size={like}.shape[2:], mode="bilinear", align_corners=False)'

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Resize` with computed sizes, the one form that all runtimes take at every size."""
        x, like = operands
        batch_channels = emit.node("Shape", [x], part="batch_channels", start=0, end=2)
        size = emit.node("Shape", [like], part="size", start=2, end=4)
        sizes = emit.node("Concat", [batch_channels, size], part="sizes", axis=0)
        return emit.node(
            "Resize",
            [x, "", "", sizes],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )


@dataclass(frozen=True)
class Flatten(Op):
    """(N, C, 1, 1) → (N, C)."""

    def infer(self, *operands: TensorType) -> TensorType:
        """(N, C, 1, 1) → (N, C)."""
        (x,) = operands
        if x.shape[2:] != (1, 1):
            raise ValueError(f"flatten takes (N, C, 1, 1), not {x}")
        return TensorType(x.shape[:2], x.dtype)

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """`reshape`."""
        del weights
        (x,) = operands
        return x.reshape(x.shape[:2])

    def to_torch(self) -> Callable[..., Any]:
        """`flatten` from axis 1."""
        return lambda x: x.flatten(1)

    def source_call(self, module: str, operands: Sequence[str]) -> str:
        """`flatten`."""
        del module
        return f"{operands[0]}.flatten(1)"

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Flatten`."""
        return emit.node("Flatten", operands, axis=1)


def _resize(x: Array, size: int, axis: int) -> Array:
    """Output i lies at (i + ½) · old / new - ½; before the first and behind the last lies that."""
    import numpy as np

    old = x.shape[axis]
    at = np.clip((np.arange(size) + 0.5) * (old / size) - 0.5, 0, old - 1)
    before = np.floor(at).astype(np.int64)
    behind = np.minimum(before + 1, old - 1)
    share = (at - before).astype(x.dtype).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    result: Array = x.take(before, axis) * (1 - share) + x.take(behind, axis) * share
    return result
