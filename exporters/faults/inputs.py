"""Images that are not prepared as the network expects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.emitter import Emitter
from compiler.graph import Graph
from compiler.interpreter import Array
from compiler.ops import Input, Op, TensorType
from exporters.faults.fault import Fault, Site, rebuilt


@dataclass(frozen=True)
class Reversed(Op):
    """One axis backwards: 1 makes BGR of RGB, 3 a mirror image."""

    axis: int = 1

    def infer(self, *operands: TensorType) -> TensorType:
        """The same type."""
        return operands[0]

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """`flip`."""
        del weights
        return np.flip(operands[0], self.axis)

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Slice` with step -1."""
        numbers = {
            "starts": -1,
            "ends": np.iinfo(np.int64).min,
            "axes": self.axis,
            "steps": -1,
        }
        constants = [emit.constant(np.array([v], np.int64), k) for k, v in numbers.items()]
        return emit.node("Slice", [*operands, *constants])


@dataclass(frozen=True)
class Affine(Op):
    """scale · x + shift: a normalisation that is not the network's."""

    scale: float = 1.0
    shift: float = 0.0

    def infer(self, *operands: TensorType) -> TensorType:
        """The same type."""
        return operands[0]

    def compute(self, weights: Mapping[str, Array], *operands: Array) -> Array:
        """Scale · x + shift."""
        del weights
        return operands[0] * self.scale + self.shift

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`Mul` and `Add`."""
        scale = emit.constant(np.array(self.scale, np.float32), "scale")
        shift = emit.constant(np.array(self.shift, np.float32), "shift")
        scaled = emit.node("Mul", [*operands, scale], part="scaled")
        return emit.node("Add", [scaled, shift])


def _prepared(op: Op) -> Any:
    def damage(site: Site) -> Graph | None:
        if not isinstance(site.node.op, Input):
            return None
        return rebuilt(site.graph, {}, {site.node.name: ("prepared", op)})

    return damage


INPUTS: dict[str, Fault] = {
    "BGR for RGB": Fault("input", _prepared(Reversed(1))),
    "mirror image": Fault("input", _prepared(Reversed(3))),
    "mean not taken off": Fault("input", _prepared(Affine(1.0, 0.45 / 0.225))),
    "other deviation": Fault("input", _prepared(Affine(0.225 / 0.25, 0.0))),
}
