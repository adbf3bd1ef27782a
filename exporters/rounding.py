"""What rounding does to a run: noise of its size, put in by hand behind every operation.

Rounding is not random, but its effect on a bulk of values is, nearly. A value that is rounded to a
type with unit roundoff u gets a normal deviate of u / √3 times its magnitude: what a uniform error
of ± u spreads. A convolution or linear layer that adds up K products p in that type rounds each of
its partial sums: in random order their squares come to K · (Σp² / 6 + (Σp)² / 3) in all, and that
is what it gets. The second term is for products of mostly one sign, as a ReLU before them makes
them. A kernel may begin at the bias b and not end with it (oneDNN's without AVX2 does): then every
partial sum holds it, which is K · b · (b + Σp) more, allowed for where that is above 0. Pools and
the sums of a node get the squares of what they add up; a convolution whose operands are rounded
before they are multiplied gets √2 · √Σp² of their unit. A batch norm that was not folded multiplies
a whole channel by a scale and adds a shift that are rounded themselves: the same deviate for all
values of the channel.
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
    ArgMax,
    AvgPool,
    BatchNorm,
    Cast,
    ChannelSlice,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Identity,
    Input,
    Linear,
    MaxPool,
    Op,
    PadEnd,
    Prepare,
    Quantize,
    QuantizedConv,
    Relu,
    Shift,
    Sum,
)
from compiler.precision import rounded

Array = NDArray[np.floating[Any]]

EXACT = (ArgMax, ChannelSlice, Input, Concat, Flatten, Identity, MaxPool, PadEnd, Relu, Shift)
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
    "int8": Arithmetic(2.0**-24, running_sum=True),
}
"""f16 and bf16 add up in float32, as every runtime here does. int8 rounds as float32 does between
the integers; an error there may tip a value over to the next step, which is not linear in it."""


TIPPED = 4
"""Values of a sample that may stand one step of int8 off, at each place where one is rounded."""


class Noise:
    """Disturbs the results of an `Interpreter`; `scale` brings their errors to the real unit.

    beside: how many runs a batch holds, one behind the other.
    """

    def __init__(self, arithmetic: Arithmetic, seed: int = 0, beside: int = 1) -> None:
        self._arithmetic, self._beside = arithmetic, beside
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
        if isinstance(node.op, EXACT):
            return result
        if isinstance(node.op, Cast):
            # Not at random: where an image is of one colour all its values err alike.
            return rounded(result, node.op.dtype)
        if isinstance(node.op, Quantize):
            return self._quantized(node.op, operands[0])
        rounding = arithmetic_of(node, self._arithmetic)
        unit = self._unit if rounding is self._arithmetic else rounding.unit
        size = np.maximum(np.abs(result), rounding.smallest)
        if isinstance(node.op, BatchNorm):
            scale, shift = (_of_channels(v) for v in node.op.scale_and_shift(weights))
            mean = _of_channels(weights["running_mean"])
            result = result + self._norm(node.op, operands[0], mean, scale, shift) * unit
            size = size + np.abs(operands[0] * scale)
        elif isinstance(node.op, Prepare):
            size = size + _cancelled(node.op)
        elif isinstance(node.op, Conv | Linear):
            size = size + _products(rounding, node.op, weights, operands[0], result)
        elif rounding.running_sum:
            size = size + _running_sum(node.op, operands)
        noise: Array = self._generator.standard_normal(result.shape)
        return result + noise * size * (unit / 3**0.5)

    def _norm(self, op: BatchNorm, x: Array, mean: Array, scale: Array, shift: Array) -> Array:
        """What scale and shift of a batch norm err by in all its values, over the unit roundoff.

        The scale is the reciprocal of the root of a sum, times the weight: of four roundings that
        of the sum counts half. It goes into the shift, bias - mean · scale, whose product and
        difference are rounded.
        """
        runs = (3, self._beside, *scale.shape[1:])
        drawn = self._generator.standard_normal(runs) / 3**0.5
        one, other, third = np.repeat(drawn, len(x) // self._beside, axis=1)
        own = (1 / 4 + (3 if op.affine else 2)) ** 0.5
        error: Array = (x - mean) * scale * (own * one) + mean * scale * other + shift * third
        return error

    def _quantized(self, op: Quantize, x: Array) -> Array:
        """Steps of what is off by the rounding of scale and zero point, made real again."""
        width = _width(op)
        noise: Array = self._generator.standard_normal(x.shape)
        steps: Array = np.ascontiguousarray(op.compute({}, x + noise * width * self._unit))
        self._tip(steps, op.scale)
        return self.on_integers(steps, width)

    def _tip(self, steps: Array, scale: float) -> None:
        """Some values of each sample one step off, whether or not the noise has found a tie.

        A tie is rare, and what one does to the rest of a network is not small.
        """
        flat = steps.reshape(len(steps), -1)
        for sample in flat:
            chosen = self._generator.integers(0, len(sample), TIPPED)
            sample[chosen] += scale * self._generator.choice((-1.0, 1.0), TIPPED)

    def on_integers(self, value: Array, width: float) -> Array:
        """A value that an engine holds as integers, as whoever reads it makes it real again.

        scale · q - scale · z, the second product known before: it is rounded once, and so by the
        same for all values; by how much at most is known. width: see `integer_width`.
        """
        if not width:
            return value
        noise: Array = self._generator.standard_normal(value.shape)
        return value + noise * width * self._unit


def integer_width(nodes: Mapping[str, Node], name: str) -> float:
    """The range of real numbers that its integers span; 0 where an engine holds it as real ones.

    What only moves or chooses values may be done before they are made real.
    """
    op = nodes[name].op
    if isinstance(op, Quantize):
        return _width(op)
    if not isinstance(op, EXACT):
        return 0.0
    return max((integer_width(nodes, operand) for operand in nodes[name].operands), default=0.0)


def _width(op: Quantize) -> float:
    low, high = op.range
    return high - low


def arithmetic_of(node: Node, arithmetic: Arithmetic) -> Arithmetic:
    """That of the engine, or of float32 where the graph keeps the node in it.

    How an image is prepared is float32 in the model; a target that is told its precision may
    choose to use that for it, too.
    """
    if isinstance(node.op, Prepare):
        return arithmetic
    return arithmetic if node.type.dtype == arithmetic.dtype else ARITHMETIC["f32"]


def _products(
    rounding: Arithmetic, op: Conv | Linear, weights: Mapping[str, Array], x: Array, result: Array
) -> Array | float:
    """What adding up K products errs by, over the rounding of one number of size 1."""
    if isinstance(op, QuantizedConv):
        return _products(rounding, op.plain(), op.real(weights), x, result)
    operands = 2 * (rounding.operands / rounding.unit) ** 2
    if not operands and not rounding.running_sum:
        return 0.0
    squares = {"weight": np.square(weights["weight"]), "bias": np.zeros(1, x.dtype)}
    bare = replace(op, bias=False) if isinstance(op, Conv) else op
    energy = bare.compute(squares, np.square(x))
    variance: Array = operands * energy
    if rounding.running_sum:
        count, bias = _counted(op, weights["weight"]), _bias(op, weights)
        total = result - bias
        begun = np.maximum(0, bias * result)
        variance = variance + count * (energy / 6 + np.square(total) / 3 + begun)
    return np.sqrt(variance)


def _counted(op: Conv | Linear, weight: Array) -> NDArray[np.intp]:
    """K of each output channel: a product with a weight of zero adds nothing, and no rounding."""
    counts: NDArray[np.intp] = np.count_nonzero(weight.reshape(len(weight), -1), axis=1)
    return counts if isinstance(op, Linear) else counts.reshape(1, -1, 1, 1)


def _cancelled(op: Prepare) -> Array:
    """Scale · x - scale · mean, where the second product is known before: each is rounded."""
    sizes: Array = 2 * np.abs(np.array(op.mean) * np.array(op.scale)).reshape(1, -1, 1, 1)
    return sizes


def _of_channels(values: Array) -> Array:
    """(C,) → (1, C, 1, 1)."""
    return values.reshape(1, -1, 1, 1)


def _bias(op: Conv | Linear, weights: Mapping[str, Array]) -> Array | float:
    if isinstance(op, Linear):
        return weights["bias"]
    return weights["bias"].reshape(1, -1, 1, 1) if op.bias else 0.0


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
