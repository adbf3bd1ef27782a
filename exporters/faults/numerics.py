"""Arithmetic that goes wrong in a runtime: values cut off, flushed, coarse, or slightly off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.emitter import Emitter
from compiler.graph import Graph
from compiler.interpreter import Array
from compiler.ops import AvgPool, BatchNorm, Concat, Conv, Op, Scale, Sum, TensorType, WeightSpec
from exporters.faults.fault import Fault, Site, with_op


@dataclass(frozen=True)
class _Distortion(Op):
    def infer(self, *operands: TensorType) -> TensorType:
        """The type of the one operand."""
        return operands[0]


@dataclass(frozen=True)
class Clipped(_Distortion):
    """Nothing beyond ± limit."""

    limit: float = 1.0

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """Cut off."""
        del weights
        return np.clip(operands[0], -self.limit, self.limit)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Clip`."""
        limits = [
            emit.constant(np.array(sign * self.limit, np.float32), part)
            for sign, part in ((-1, "least"), (1, "most"))
        ]
        return emit.node("Clip", [*operands, *limits])


@dataclass(frozen=True)
class Flushed(_Distortion):
    """Nothing within ± limit."""

    limit: float = 1.0

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """Zero where it is small."""
        del weights
        return np.where(np.abs(operands[0]) > self.limit, operands[0], 0.0)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Where` the size is above the limit."""
        limit = emit.constant(np.array(self.limit, np.float32), "limit")
        zero = emit.constant(np.array(0, np.float32), "zero")
        size = emit.node("Abs", operands, part="size")
        large = emit.node("Greater", [size, limit], part="large")
        return emit.node("Where", [large, *operands, zero])


@dataclass(frozen=True)
class Coarse(_Distortion):
    """Multiples of a step."""

    step: float = 1.0

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """To the nearest one."""
        del weights
        rounded: Array = np.round(operands[0] / self.step) * self.step
        return rounded

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Div`, `Round`, `Mul`."""
        step = emit.constant(np.array(self.step, np.float32), "step")
        steps = emit.node("Div", [*operands, step], part="steps")
        return emit.node("Mul", [emit.node("Round", [steps], part="whole"), step])


@dataclass(frozen=True)
class Distorted(Op):
    """An operation whose result comes out distorted, under its own name."""

    right: Op
    how: Op

    def infer(self, *operands: TensorType) -> TensorType:
        """As the right one."""
        return self.right.infer(*operands)

    def weights(self) -> dict[str, WeightSpec]:
        """As the right one."""
        return self.right.weights()

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """One after the other."""
        return self.how.compute({}, self.right.compute(weights, *operands))

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """One after the other."""
        return self.how.to_onnx(emit, self.right.to_onnx(_Within(emit), *operands))


class _Within:
    """An emitter for what is not yet the node's own value."""

    def __init__(self, emit: Emitter) -> None:
        self._emit = emit
        self.weight, self.constant = emit.weight, emit.constant

    def node(
        self, op_type: str, inputs: Sequence[str], *, part: str = "", **attributes: Any
    ) -> str:
        """See `compiler.emitter`."""
        return self._emit.node(op_type, inputs, part=part or "right", **attributes)


def _distort(site: Site, how: Op) -> Graph:
    return with_op(site, Distorted(site.node.op, how))


def _largest(site: Site) -> float:
    return float(np.abs(site.values[site.node.name]).max())


def saturated(site: Site) -> Graph | None:
    """A sum that ends at seven tenths of its largest value, as an overflow that saturates does."""
    if not isinstance(site.node.op, Sum) or not _largest(site):
        return None
    return _distort(site, Clipped(0.7 * _largest(site)))


def flushed(site: Site) -> Graph | None:
    """What is smaller than a hundredth of the largest value of a convolution is zero."""
    if not isinstance(site.node.op, Conv) or not _largest(site) or _is_folded(site):
        return None
    return _distort(site, Flushed(1e-2 * _largest(site)))


def _is_folded(site: Site) -> bool:
    """Before a batch norm, or half of a stride-2 skip: an engine has no value there."""
    users = [site.graph[name] for name in site.graph.users(site.node.name)]
    return any(isinstance(user.op, BatchNorm | Concat) for user in users)


def coarse(site: Site) -> Graph | None:
    """A sum in 255 steps, which nobody asked for."""
    if not isinstance(site.node.op, Sum) or not _largest(site):
        return None
    return _distort(site, Coarse(_largest(site) / 127))


def wrong_reciprocal(site: Site) -> Graph | None:
    """A mean by 1 / 9 of three digits."""
    return _distort(site, Scale(9 * 0.1113)) if isinstance(site.node.op, AvgPool) else None


NUMERICS: dict[str, Fault] = {
    "sum saturated": Fault("numerics", saturated),
    "small values flushed": Fault("numerics", flushed),
    "sum in 255 steps": Fault("numerics", coarse),
    "wrong reciprocal": Fault("numerics", wrong_reciprocal),
}
