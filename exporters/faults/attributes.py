"""Operations that are nearly right: another padding, dilation, activation or interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from compiler.emitter import Emitter
from compiler.graph import Graph
from compiler.interpreter import Array
from compiler.ops import AvgPool, Conv, Identity, MaxPool, Relu, ResizeLike, Shift
from compiler.ops.windows import taps
from exporters.faults.fault import Fault, Site, with_op


@dataclass(frozen=True)
class CountedPadding(AvgPool):
    """Divides by the whole window at the border, too."""

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """The sum of the taps by the size of the window."""
        del weights
        pair = ((self.kernel,) * 2, (self.stride,) * 2, (self.padding,) * 2)
        total: Array = sum(view for _, _, view in taps(operands[0], *pair))  # type: ignore[assignment]
        return total / self.kernel**2

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`AveragePool` that counts its padding."""
        return emit.node(
            "AveragePool", operands, count_include_pad=1, ceil_mode=0, **self._onnx_attributes()
        )


@dataclass(frozen=True)
class ShiftedPadding(Conv):
    """All padding at the end, none at the beginning, as another framework's "same" may put it."""

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """A convolution without padding over the map with its padding behind it."""
        (x,), (up, left) = operands, self.padding
        padded = np.pad(x, ((0, 0), (0, 0), (0, 2 * up), (0, 2 * left)))
        return Conv(**_fields(self) | {"padding": (0, 0)}).compute(weights, padded)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Conv` with pads at the end alone."""
        inputs = [*operands, emit.weight("weight"), *([emit.weight("bias")] if self.bias else [])]
        return emit.node(
            "Conv",
            inputs,
            kernel_shape=list(self.kernel),
            strides=list(self.stride),
            pads=[0, 0, 2 * self.padding[0], 2 * self.padding[1]],
            dilations=list(self.dilation),
            group=self.groups,
        )


@dataclass(frozen=True)
class OtherResize(ResizeLike):
    """Another interpolation, or other coordinates."""

    mode: str = "linear"
    coordinates: str = "align_corners"

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """Axis by axis."""
        del weights
        x, like = operands
        for axis in (2, 3):
            x = self._along(x, like.shape[axis], axis)
        return x

    def _along(self, x: Array, size: int, axis: int) -> Array:
        old = x.shape[axis]
        index = np.arange(size)
        if self.coordinates == "align_corners":
            at = index * ((old - 1) / (size - 1) if size > 1 else 0.0)
        else:
            at = index * (old / size)
        at = np.clip(at, 0, old - 1)
        before = np.floor(at).astype(np.int64)
        if self.mode == "nearest":
            nearest: Array = x.take(before, axis)
            return nearest
        behind = np.minimum(before + 1, old - 1)
        share = (at - before).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        mixed: Array = x.take(before, axis) * (1 - share) + x.take(behind, axis) * share
        return mixed

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Resize` in that mode."""
        x, like = operands
        batch_channels = emit.node("Shape", [x], part="batch_channels", start=0, end=2)
        size = emit.node("Shape", [like], part="size", start=2, end=4)
        sizes = emit.node("Concat", [batch_channels, size], part="sizes", axis=0)
        how: dict[str, Any] = {"nearest_mode": "floor"} if self.mode == "nearest" else {}
        return emit.node(
            "Resize",
            [x, "", "", sizes],
            mode=self.mode,
            coordinate_transformation_mode=self.coordinates,
            **how,
        )


@dataclass(frozen=True)
class LeakyRelu(Relu):
    """Lets a hundredth of what is negative through."""

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """max(x, 0.01 x)."""
        del weights
        result: Array = np.maximum(operands[0], operands[0] * 0.01)
        return result

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`LeakyRelu`."""
        return emit.node("LeakyRelu", operands, alpha=0.01)


def _fields(op: Conv) -> dict[str, Any]:
    return {field.name: getattr(op, field.name) for field in fields(Conv)}


def counted_padding(site: Site) -> Graph | None:
    """An average over the padding, too."""
    op = site.node.op
    if not isinstance(op, AvgPool):
        return None
    return with_op(site, CountedPadding(op.kernel, op.stride, op.padding))


def lost_dilation(site: Site) -> Graph | None:
    """A dilated convolution without its dilation; the size stays."""
    op = site.node.op
    if not isinstance(op, Conv) or op.dilation == (1, 1):
        return None
    reach = ((op.kernel[0] - 1) // 2, (op.kernel[1] - 1) // 2)
    return with_op(site, replace(op, dilation=(1, 1), padding=reach))


def shifted_padding(site: Site) -> Graph | None:
    """Padding at the end alone."""
    op = site.node.op
    if not isinstance(op, Conv) or op.padding == (0, 0):
        return None
    return with_op(site, ShiftedPadding(**_fields(op)))


def _resize(mode: str, coordinates: str) -> Any:
    def damage(site: Site) -> Graph | None:
        if not isinstance(site.node.op, ResizeLike):
            return None
        return with_op(site, OtherResize(mode, coordinates))

    return damage


def missing_relu(site: Site) -> Graph | None:
    """No ReLU."""
    return with_op(site, Identity()) if isinstance(site.node.op, Relu) else None


def leaky_relu(site: Site) -> Graph | None:
    """A leaky one."""
    return with_op(site, LeakyRelu()) if isinstance(site.node.op, Relu) else None


def max_for_average(site: Site) -> Graph | None:
    """The maximum where the mean is meant."""
    op = site.node.op
    if not isinstance(op, AvgPool):
        return None
    return with_op(site, MaxPool(op.kernel, op.stride, op.padding))


def average_for_max(site: Site) -> Graph | None:
    """The mean where the maximum is meant."""
    op = site.node.op
    if not isinstance(op, MaxPool):
        return None
    return with_op(site, AvgPool(op.kernel, op.stride, op.padding))


def missing_shift(site: Site) -> Graph | None:
    """Both halves of a stride-2 skip read the same pixels."""
    return with_op(site, Identity()) if isinstance(site.node.op, Shift) else None


ATTRIBUTES: dict[str, Fault] = {
    "padding counted": Fault("attributes", counted_padding),
    "dilation lost": Fault("attributes", lost_dilation),
    "padding shifted": Fault("attributes", shifted_padding),
    "corners aligned": Fault("attributes", _resize("linear", "align_corners")),
    "asymmetric resize": Fault("attributes", _resize("linear", "asymmetric")),
    "nearest resize": Fault("attributes", _resize("nearest", "asymmetric")),
    "ReLU missing": Fault("attributes", missing_relu),
    "leaky ReLU": Fault("attributes", leaky_relu),
    "max for average": Fault("attributes", max_for_average),
    "average for max": Fault("attributes", average_for_max),
    "shift missing": Fault("attributes", missing_shift),
}
