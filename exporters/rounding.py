"""What rounding does to a run: noise of its size, put in by hand behind every operation.

Rounding is not random, but its effect on a bulk of values is, nearly. A value that is rounded to a
type with unit roundoff u gets a normal deviate of u / √3 times its magnitude: what a uniform error
of ± u spreads. A convolution or linear layer of K products that adds up in that type gets √K · √(w²
* x²) on top, the growth of a running sum, and so do pools and the sums of a node; one whose
operands are rounded before they are multiplied gets √2 · √(w² * x²) of their unit.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Node
from compiler.ops import (
    AvgPool,
    Cast,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Identity,
    Input,
    Linear,
    MaxPool,
    Op,
    Relu,
    Shift,
    Sum,
)

Array = NDArray[np.floating[Any]]

EXACT = (Input, Concat, Flatten, Identity, MaxPool, Relu, Shift)
"""Operations that only move or choose values."""


@dataclass(frozen=True)
class Arithmetic:
    """How a precision rounds.

    unit: unit roundoff of what an operation writes. dtype: the type of the nodes that this is
    about; those that a graph keeps in float32 round as float32 does. smallest: magnitudes below it
    are rounded as if they had it (subnormal numbers). running_sum: products are added up in that
    same type, not in a wider one. operands: unit roundoff of what a convolution multiplies, where
    that is less exact than what it reads. linear_at: a larger unit at which the noise is drawn, to
    be scaled down, where errors are small enough to grow linearly and too small to be told from
    float64's.
    """

    unit: float
    dtype: str = "float32"
    smallest: float = 0.0
    running_sum: bool = False
    operands: float = 0.0
    linear_at: float | None = None


ARITHMETIC: dict[str, Arithmetic] = {
    "f32": Arithmetic(2.0**-24, running_sum=True, linear_at=2.0**-14),
    "tf32": Arithmetic(2.0**-24, running_sum=True, operands=2.0**-11),
    "f16": Arithmetic(2.0**-11, "float16", smallest=2.0**-14),
    "bf16": Arithmetic(2.0**-8, "bfloat16"),
}
"""f16 and bf16 add up in float32, as every runtime here does."""


class Noise:
    """Disturbs the results of an `Interpreter`; `scale` brings their errors to the real unit."""

    def __init__(self, arithmetic: Arithmetic, seed: int = 0) -> None:
        self._arithmetic = arithmetic
        self._unit = arithmetic.linear_at or arithmetic.unit
        self._generator = np.random.default_rng(seed)
        self.scale = arithmetic.unit / self._unit

    def __call__(
        self,
        node: Node,
        weights: Mapping[str, Array],
        operands: tuple[Array, ...],
        result: Array,
    ) -> Array:
        """The result, and noise."""
        if isinstance(node.op, EXACT) or _widens(node):
            return result
        rounding = arithmetic_of(node, self._arithmetic)
        unit = self._unit if rounding is self._arithmetic else rounding.unit
        size = np.maximum(np.abs(result), rounding.smallest)
        if isinstance(node.op, Conv | Linear):
            size = size + _products(rounding, node.op, weights, operands[0])
        elif rounding.running_sum:
            size = size + _running_sum(node.op, operands)
        noise: Array = self._generator.standard_normal(result.shape)
        return result + noise * size * (unit / 3**0.5)


def arithmetic_of(node: Node, arithmetic: Arithmetic) -> Arithmetic:
    """That of the engine, or of float32 where the graph keeps the node in it."""
    return arithmetic if node.type.dtype == arithmetic.dtype else ARITHMETIC["f32"]


def _widens(node: Node) -> bool:
    """A cast to float32 rounds nothing."""
    return isinstance(node.op, Cast) and node.type.dtype == "float32"


def _products(
    rounding: Arithmetic, op: Conv | Linear, weights: Mapping[str, Array], x: Array
) -> Array | float:
    factor = (weights["weight"][0].size ** 0.5) * rounding.running_sum
    factor += 2**0.5 * rounding.operands / rounding.unit
    if not factor:
        return 0.0
    squares = {"weight": np.square(weights["weight"]), "bias": np.zeros(1, x.dtype)}
    bare = replace(op, bias=False) if isinstance(op, Conv) else op
    energy = bare.compute(squares, np.square(x))
    products: Array = np.sqrt(energy) * factor
    return products


def _running_sum(op: Op, operands: tuple[Array, ...]) -> Any:
    """The growth of the sum that a pool or a node computes, over the rounding of its result."""
    if isinstance(op, AvgPool | GlobalAvgPool):
        return np.sqrt(op.compute({}, np.square(operands[0])))  # √K · √Σx² / K
    if isinstance(op, Sum) and len(operands) > 2:
        partial = itertools.accumulate(operands[:-1], operator.add)
        return np.sqrt(functools.reduce(operator.add, (np.square(y) for y in partial)))
    return 0.0


DEVIATIONS = 3
"""How many standard deviations of the RMS error, from run to run, belong to the prediction."""


def expected(errors: Sequence[float]) -> float:
    """What noisy runs say of the RMS error to expect: its own RMS, and how far it spreads.

    Of thousands of values the RMS hardly varies from run to run. Where a map is one pixel, or all
    of it comes from a few numbers (an image pool that is resized to a map), it does.
    """
    mean = float(np.sqrt(np.mean(np.square(errors))))
    return mean + DEVIATIONS * float(np.std(errors))


def rms(values: NDArray[Any]) -> float:
    """Root mean square, in float64."""
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))
