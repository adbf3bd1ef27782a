"""Rows and columns of a kernel that only ever meet padding, left out.

    Σ_k w[k] · x[s·i + d·k - p],   x = 0 outside 0 ... H-1

A tap k contributes nothing if s·i + d·k - p lies outside for every output i. Exact, because what is
left out is a sum of zeros. So the atrous pyramid's convolution with rate 18 is a 1x1 convolution on
a map of 18 pixels or fewer.

A kernel is cut on both sides alike, so that padding stays the same on both. It holds for the size
that the graph is typed with, and no other: an engine of open sizes is not rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.graph import Graph, Node
from compiler.ops import Conv


@dataclass(frozen=True)
class Match:
    """How many taps go at each end, of rows and of columns."""

    conv: Node
    cut: tuple[int, int]


class DropPaddingTaps:
    """See the module."""

    name = "drop_padding_taps"
    one_size = True

    def match(self, graph: Graph, node: Node) -> Match | None:
        """A convolution with a tap at each end, of rows or columns, that only reads padding."""
        if not isinstance(node.op, Conv):
            return None
        sizes = graph[node.operands[0]].type.shape[2:]
        cut = (_idle(node, int(sizes[0]), 0), _idle(node, int(sizes[1]), 1))
        return Match(node, cut) if any(cut) else None

    def rewrite(self, graph: Graph, match: Match) -> None:
        """A smaller kernel, and padding that has shrunk by as much as it reached."""
        op, (rows, columns) = match.conv.op, match.cut
        assert isinstance(op, Conv)
        name = match.conv.weight_name("weight")
        weight = graph.weights[name]
        height, width = op.kernel
        smaller = replace(
            op,
            kernel=(height - 2 * rows, width - 2 * columns),
            padding=(
                op.padding[0] - rows * op.dilation[0],
                op.padding[1] - columns * op.dilation[1],
            ),
        )
        if smaller.kernel == (1, 1):
            smaller = replace(smaller, dilation=(1, 1))
        graph.set_op(match.conv.name, smaller, match.conv.origin)
        graph.weights[name] = np.ascontiguousarray(
            weight[:, :, rows : height - rows, columns : width - columns]
        )


def _idle(node: Node, size: int, axis: int) -> int:
    """How many taps may go at each end: those that read nothing, and leave the padding >= 0."""
    op = node.op
    assert isinstance(op, Conv)
    kernel, stride, padding, dilation = (
        pair[axis] for pair in (op.kernel, op.stride, op.padding, op.dilation)
    )
    positions = np.arange((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1) * stride
    cut = 0
    while 2 * (cut + 1) < kernel and padding - (cut + 1) * dilation >= 0:
        first, last = positions + cut * dilation, positions + (kernel - 1 - cut) * dilation
        if any(((at >= padding) & (at < padding + size)).any() for at in (first, last)):
            break
        cut += 1
    return cut
