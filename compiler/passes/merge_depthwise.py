"""Depthwise convolutions of one value as one with several outputs a channel, then sliced.

    y_j[c] = w_j[c] * x[c],  j = 1 ... m   ->   y[c·m + j] = w_j[c] * x[c],  sliced by steps of m

Exact: each output channel still reads its one input channel. Kernels of different reach are
embedded in the largest: a kernel k with dilation d is one of d·(k-1) + 1 taps with zeros between,
and padding grows by as much as the reach on both sides. Fewer kernels to launch, more products with
zero; on CPUs it makes engines slower by 14 to 46 % (docs/results/rewrites.md).

It does not fire where
 1. the strides differ: then the outputs have different sizes;
 2. a padding is not half the reach, or a kernel is even, so that embedding would shift the window;
 3. only one reads the value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import ChannelSlice, Conv
from compiler.rewrite import alike_readers


@dataclass(frozen=True)
class Match:
    """The convolutions, in order of addition."""

    convs: tuple[Node, ...]


class MergeDepthwise:
    """See the module."""

    name = "merge_depthwise"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """The first of several depthwise convolutions of one value with one stride."""
        if not _is_centred_depthwise(node):
            return None
        convs = alike_readers(graph, node, lambda reader: _alike(node, reader))
        return None if convs is None else Match(convs)

    def rewrite(self, graph: Graph, match: Match) -> None:
        """One convolution; every m-th of its channels in the place of each."""
        ops = [_op(conv) for conv in match.convs]
        dilations = {op.dilation for op in ops}
        dilation = dilations.pop() if len(dilations) == 1 else (1, 1)
        reach = tuple(max(_reach(op, axis) for op in ops) for axis in (0, 1))
        kernel = (reach[0] // dilation[0] + 1, reach[1] // dilation[1] + 1)
        channels, count = ops[0].in_channels, len(ops)
        op = Conv(
            channels,
            channels * count,
            kernel,
            ops[0].stride,
            (reach[0] // 2, reach[1] // 2),
            dilation,
            groups=channels,
            bias=ops[0].bias,
        )
        first = match.convs[0]
        origins = tuple(dict.fromkeys(origin for conv in match.convs for origin in conv.origin))
        merged = graph.add(f"{first.name}_merged", op, first.operands[0], origin=origins)
        weights = [
            _embedded(graph.weights[conv.weight_name("weight")], _op(conv), op)
            for conv in match.convs
        ]
        graph.weights[graph[merged].weight_name("weight")] = _interleaved(weights)
        if op.bias:
            biases = [graph.weights[conv.weight_name("bias")] for conv in match.convs]
            graph.weights[graph[merged].weight_name("bias")] = _interleaved(biases)
        for index, conv in enumerate(match.convs):
            piece = ChannelSlice(index, channels * count, count)
            part = graph.add(f"{conv.name}_slice", piece, merged, origin=conv.origin)
            graph.replace_uses(conv.name, part)
            graph.remove(conv.name)


def _op(node: Node) -> Conv:
    assert isinstance(node.op, Conv)
    return node.op


def _reach(op: Conv, axis: int) -> int:
    """Pixels from a kernel's first tap to its last."""
    return op.dilation[axis] * (op.kernel[axis] - 1)


def _is_centred_depthwise(node: Node) -> bool:
    op = node.op
    return (
        isinstance(op, Conv)
        and op.is_depthwise
        and all(2 * op.padding[axis] == _reach(op, axis) for axis in (0, 1))
        and all(size % 2 for size in op.kernel)
    )


def _alike(first: Node, other: Node) -> bool:
    return _is_centred_depthwise(other) and (
        (_op(first).stride, _op(first).bias) == (_op(other).stride, _op(other).bias)
    )


def _embedded(weight: NDArray[np.generic], own: Conv, wide: Conv) -> NDArray[np.generic]:
    """(C, 1, k, k) in the larger kernel, zeros around and between."""
    result = np.zeros((*weight.shape[:2], *wide.kernel), weight.dtype)
    rows, columns = (
        (
            np.arange(own.kernel[axis]) * own.dilation[axis]
            + (_reach(wide, axis) - _reach(own, axis)) // 2
        )
        // wide.dilation[axis]
        for axis in (0, 1)
    )
    result[:, :, rows[:, None], columns[None, :]] = weight
    return result


def _interleaved(arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Entry c of each, then entry c + 1 of each."""
    return np.stack(arrays, 1).reshape(-1, *arrays[0].shape[1:])
