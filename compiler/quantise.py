"""A graph in int8: which values are rounded to 256 steps, and convolutions with int8 weights.

What is multiplied in int8 is a convolution between two rounded values: ONNX Runtime, OpenVINO and
TensorRT each fuse `DequantizeLinear → Conv (→ Relu) → QuantizeLinear` into one integer kernel. So a
quantised convolution reads a rounded value, and its own value is rounded, behind the ReLU where one
is all that reads it. Everything else stays float32. The addends of a node share one range, so that
a sum of integers is a sum of the values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import (
    AvgPool,
    Concat,
    Conv,
    Identity,
    MaxPool,
    PadEnd,
    Quantize,
    QuantizedConv,
    Relu,
    Shift,
    Sum,
)
from compiler.ops.quantize import LIMITS

Range = tuple[float, float]
"""The least and the greatest real number that is to be held."""

MOST_BIAS = 2**31 - 1


@dataclass(frozen=True)
class Scheme:
    """What a target is fast with.

    activations: "uint8" (any zero point) or "int8" (zero point 0).
    bias_type: see `QuantizedConv`.
    averages: so is the mean that a pool takes of rounded values, to the same steps. OpenVINO pools
    integers; written down, that is no surprise.
    """

    activations: Literal["uint8", "int8"] = "uint8"
    bias_type: Literal["int32", "float32"] = "int32"
    averages: bool = False


def quantised_values(graph: Graph, convs: Collection[str]) -> dict[str, str]:
    """The values to calibrate, in the graph's order → the group that shares one range.

    convs: the convolutions that are to compute in int8. A group is called after the sum or the
    concatenation that reads it, or after the one value in it.
    """
    wanted = {graph.operands(name)[0] for name in convs}
    wanted |= {behind(graph, name) for name in convs}
    return {node.name: _group(graph, node.name) for node in graph.nodes() if node.name in wanted}


def behind(graph: Graph, conv: str) -> str:
    """The value that a fused convolution writes: its own, or that of the ReLU behind it."""
    users = graph.users(conv)
    if len(users) == 1 and isinstance(graph[users[0]].op, Relu):
        return users[0]
    return conv


def _group(graph: Graph, value: str) -> str:
    """What is added up, or lies side by side in one map, shares a range."""
    users = [user for user in graph.users(value) if isinstance(graph[user].op, Sum | Concat)]
    return users[0] if users else value


def quantised(
    graph: Graph, convs: Collection[str], ranges: Mapping[str, Range], scheme: Scheme
) -> Graph:
    """The graph with the convolutions `convs` in int8.

    ranges: of every group of `quantised_values`; made to hold 0. KeyError for one that is missing.
    """
    return _Quantising(graph, {*convs}, ranges, scheme).result()


class _Quantising:
    def __init__(
        self, graph: Graph, convs: set[str], ranges: Mapping[str, Range], scheme: Scheme
    ) -> None:
        self._source, self._convs, self._scheme = graph, convs, scheme
        self._quantize = {
            value: quantize(ranges[group], scheme.activations)
            for value, group in quantised_values(graph, convs).items()
        }
        self._made = {behind(graph, name) for name in convs}
        self._result = Graph()

    def result(self) -> Graph:
        for node in self._source.nodes():
            self._add(node)
        for key, name in self._source.outputs.items():
            self._result.set_output(key, name)
        return self._result

    def _add(self, node: Node) -> None:
        conv = node.name in self._convs
        operands = [self._rounded(name) if conv else self._read(name) for name in node.operands]
        op = self._quantised_op(node) if conv else node.op
        self._result.add(node.name, op, *operands, origin=node.origin)
        if self._scheme.averages and isinstance(node.op, AvgPool):
            self._round_average(node)
        if conv:
            self._set_weights(node)
        else:
            names = node.weight_specs()
            self._result.weights |= {name: self._source.weights[name] for name in names}

    def _read(self, name: str) -> str:
        """A rounded value where it was a convolution's own, else the value itself."""
        return self._rounded(name) if name in self._made else name

    def _rounded(self, name: str) -> str:
        rounded = f"{name}_int8"
        if rounded not in self._result:
            origin = self._source[name].origin
            self._result.add(rounded, self._quantize[name], name, origin=origin)
        return rounded

    def _round_average(self, node: Node) -> None:
        steps = self._steps_of(node.operands[0])
        if steps is not None:
            self._made.add(node.name)
            self._quantize[node.name] = steps

    def _steps_of(self, name: str) -> Quantize | None:
        """Those that all of a value is held in; None where it is held in real numbers."""
        if name in self._made:
            return self._quantize[name]
        node = self._source[name]
        if not isinstance(node.op, Concat | Identity | MaxPool | PadEnd | Shift):
            return None
        found = {self._steps_of(operand) for operand in node.operands}
        return found.pop() if len(found) == 1 else None

    def _quantised_op(self, node: Node) -> QuantizedConv:
        assert isinstance(node.op, Conv)
        own = {field.name: getattr(node.op, field.name) for field in fields(node.op)}
        return QuantizedConv(**own, bias_type=self._scheme.bias_type)

    def _set_weights(self, node: Node) -> None:
        held, weights = self._source.weights, self._result.weights
        step = self._quantize[node.operands[0]].scale
        bias = held.get(node.weight_name("bias"))
        # In int32 the bias is held in steps of both scales: where weights are nearly 0, theirs must
        # not be so fine that the bias does not fit.
        least = None
        if bias is not None and self._scheme.bias_type == "int32":
            least = np.abs(bias.astype(np.float64)) / (MOST_BIAS / 2 * step)
        scale, integers = per_channel(held[node.weight_name("weight")], least)
        weights[node.weight_name("weight")] = integers
        weights[node.weight_name("weight_scale")] = scale
        if bias is None:
            return
        if self._scheme.bias_type == "float32":
            weights[node.weight_name("bias")] = bias
            return
        both = (scale * np.float32(step)).astype(np.float32)
        whole = np.rint(bias.astype(np.float64) / both.astype(np.float64))
        weights[node.weight_name("bias")] = whole.astype(np.int32)
        weights[node.weight_name("bias_scale")] = both


def quantize(reach: Range, dtype: str) -> Quantize:
    """The finest steps that hold the range, and 0 exactly."""
    low, high = min(0.0, reach[0]), max(0.0, reach[1])
    least, greatest = LIMITS[dtype]
    if dtype == "int8":
        scale = max(-low, high) / greatest
        return Quantize(_float32(scale), 0, dtype)
    scale = _float32((high - low) / (greatest - least))
    return Quantize(scale, round(-low / scale), dtype)


def per_channel(
    weight: NDArray[Any], least: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """(out, ...) → scales (out,), and integers in -127..127: symmetric, 0 exact.

    least: of each scale.
    """
    flat = np.abs(weight.astype(np.float64)).reshape(len(weight), -1).max(axis=1) / 127
    if least is not None:
        flat = np.maximum(flat, least)
    scale = np.array([_float32(value) for value in flat], np.float32)
    wide = scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    integers = np.clip(np.rint(weight / wide), -127, 127)
    return scale, integers.astype(np.int8)


def _float32(scale: float) -> float:
    """As ONNX holds it; of a value that is always 0 the step is any number."""
    return float(np.float32(scale)) if scale > np.finfo(np.float32).tiny else 1.0


def convolutions(graph: Graph) -> tuple[str, ...]:
    """Every convolution, in the graph's order: what may compute in int8."""
    return tuple(node.name for node in graph.nodes() if isinstance(node.op, Conv))
