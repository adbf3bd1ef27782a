"""The halves of a factorized reduce as terms of a sum, so that they are as wide as what reads them.

    concat(W0 · x, W1 · shift(x))  =  (W0 above 0) · x  +  (0 above W1) · subsample(x)

Both products are 1x1 convolutions, the first with the stride s; subsample is a depthwise one with
that stride, which takes x[s·i + 1, s·j + 1], with the zeros behind the last row and column that
`Shift` puts there. Exact, and at every size: what is added to either half are zeros. Where an
output stride took the stride away nothing is shifted, and the halves are one convolution.

ONNX Runtime has neither the pad and slice of `Shift` in its blocked layout, nor a concatenation of
halves that are no multiple of a block, such as 36 channels; where it leaves that layout, every sum
that they are added to and what reads it leaves it too. Twice the products are cheaper by far
(docs/results/rewrites.md).

It does not fire where
 1. somebody else reads a half, which would then be computed twice;
 2. the halves read different values, or have different strides;
 3. a half is no 1x1 convolution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.graph import Graph, Node
from compiler.ops import Concat, Conv, Op, PadEnd, Shift, Sum


@dataclass(frozen=True)
class Match:
    """Both halves and what joins them. shifted: whether the second reads one pixel further."""

    halves: tuple[Node, Node]
    concat: Node
    shifted: bool


class SumHalves:
    """See the module."""

    name = "sum_halves"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """A concat of two 1x1 convolutions of one value, the second of it shifted or not."""
        if not isinstance(node.op, Concat) or len(node.operands) != 2:
            return None
        near, far = (graph[name] for name in node.operands)
        if near.name == far.name or not all(_is_half(graph, half, node) for half in (near, far)):
            return None
        if (_op(near).stride, _op(near).bias) != (_op(far).stride, _op(far).bias):
            return None
        source = graph[far.operands[0]]
        if far.operands == near.operands:
            return Match((near, far), node, shifted=False)
        if isinstance(source.op, Shift) and source.operands == near.operands:
            return Match((near, far), node, shifted=True)
        return None

    def rewrite(self, graph: Graph, match: Match) -> None:
        """The sum in the place of the concat."""
        near, far = match.halves
        (x,), (shift,) = near.operands, far.operands
        wide = replace(_op(near), out_channels=_op(near).out_channels + _op(far).out_channels)
        parts = (*near.origin, *far.origin, *match.concat.origin)
        origin = tuple(dict.fromkeys(parts))
        of_first = near.origin if match.shifted else origin
        first = graph.add(f"{near.name}_wide", wide, x, origin=of_first)
        above, below = (graph.weights[half.weight_name("weight")] for half in match.halves)
        rest = np.zeros_like(below) if match.shifted else below
        graph.weights[graph[first].weight_name("weight")] = np.concatenate([above, rest])
        if wide.bias:
            biases = [graph.weights[half.weight_name("bias")] for half in match.halves]
            graph.weights[graph[first].weight_name("bias")] = np.concatenate(biases)
        result = first
        if match.shifted:
            source = _subsampled(graph, x, far)
            plain = replace(wide, stride=(1, 1), bias=False)
            second = graph.add(f"{far.name}_wide", plain, source, origin=far.origin)
            graph.weights[graph[second].weight_name("weight")] = np.concatenate(
                [np.zeros_like(above), below]
            )
            result = graph.add(f"{match.concat.name}_sum", Sum(), first, second, origin=origin)
        graph.replace_uses(match.concat.name, result)
        for name in (match.concat.name, near.name, far.name):
            graph.remove(name)
        if match.shifted and not graph.users(shift) and shift not in graph.outputs.values():
            graph.remove(shift)


def _op(node: Node) -> Conv:
    assert isinstance(node.op, Conv)
    return node.op


def _is_half(graph: Graph, node: Node, concat: Node) -> bool:
    """A 1x1 convolution that the concat alone reads."""
    return (
        isinstance(node.op, Conv)
        and node.op.is_pointwise
        and node.op.padding == (0, 0)
        and set(graph.users(node.name)) == {concat.name}
        and node.name not in graph.outputs.values()
    )


def _subsampled(graph: Graph, value: str, far: Node) -> str:
    """The pixels of a value that a second half reads; made once for all that read them."""
    channels, stride = _op(far).in_channels, _op(far).stride
    op = Conv(channels, channels, (2, 2), stride, groups=channels)
    weight = np.zeros((channels, 1, 2, 2), graph.weights[far.weight_name("weight")].dtype)
    weight[:, :, 1, 1] = 1
    padded = _read_by(graph, value, PadEnd(), far)
    if padded is None:
        padded = graph.add(f"{far.name}_padded", PadEnd(), value, origin=far.origin)
    made = _read_by(graph, padded, op, far)
    if made is None:
        made = graph.add(f"{far.name}_subsampled", op, padded, origin=far.origin)
        graph.weights[graph[made].weight_name("weight")] = weight
    return made


def _read_by(graph: Graph, value: str, op: Op, far: Node) -> str | None:
    """The node of this operation that reads the value already; `far` is one more that it is of.

    No network has a 2x2 convolution, and no other pass makes one: such a node is of this pass.
    """
    for name in graph.users(value):
        node = graph[name]
        if node.op == op:
            graph.set_op(name, op, tuple(dict.fromkeys((*node.origin, *far.origin))))
            return name
    return None
