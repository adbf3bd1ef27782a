"""The last 1x1 convolutions of a sum as one convolution over their inputs, one behind another.

    A * a + B * b + x  =  [A, B] * [a; b] + x   or, with skips,  [A, B, I] * [a; b; x]

Exact, because a convolution adds up its input channels; an identity is a convolution with the unit
matrix. Fewer kernels and additions, for a copy of the inputs; the other way round than
`split_pointwise`. On CPUs it makes engines slower, with skips by 17 to 34 %
(docs/results/rewrites.md).

It does not fire where
 1. fewer than two addends can be merged;
 2. an addend is read by somebody else, or is an output;
 3. a convolution is no 1x1, or has a stride, padding or groups: an average pool, whose border
    counts fewer pixels, is none (folding it is wrong there by 0.82, measured).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import Concat, Conv, Identity, Sum


@dataclass(frozen=True)
class Match:
    """The sum, the addends that are merged, in order, and those that are not."""

    total: Node
    merged: tuple[Node, ...]
    rest: tuple[str, ...]


class MergeSums:
    """See the module. skips: identities are merged too."""

    def __init__(self, *, skips: bool = False) -> None:
        self._skips = skips
        self.name = "merge_sums_with_skips" if skips else "merge_sums"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """A sum of two 1x1 convolutions or more."""
        if not isinstance(node.op, Sum):
            return None
        addends = [graph[name] for name in node.operands]
        merged = [addend for addend in addends if self._can_go(graph, addend)]
        if sum(isinstance(addend.op, Conv) for addend in merged) < 1 or len(merged) < 2:
            return None
        names = {addend.name for addend in merged}
        rest = tuple(name for name in node.operands if name not in names)
        return Match(node, tuple(merged), rest)

    def _can_go(self, graph: Graph, addend: Node) -> bool:
        alone = graph.is_read_once(addend.name)
        skip = self._skips and isinstance(addend.op, Identity)
        return alone and (skip or addend.op == _plain(addend))

    def rewrite(self, graph: Graph, match: Match) -> None:
        """One concatenation, one convolution, and a sum of what is left."""
        total, merged = match.total, match.merged
        origins = tuple(dict.fromkeys(origin for addend in merged for origin in addend.origin))
        sources = [addend.operands[0] for addend in merged]
        joined = graph.add(f"{total.name}_inputs", Concat(), *sources, origin=origins)
        biases = [
            graph.weights[addend.weight_name("bias")]
            for addend in merged
            if isinstance(addend.op, Conv) and addend.op.bias
        ]
        op = Conv(graph[joined].type.channels, total.type.channels, bias=bool(biases))
        conv = graph.add(f"{total.name}_merged", op, joined, origin=origins)
        # An identity's ones are in the type of the weights beside them.
        dtype = next(graph.weights[a.weight_name("weight")].dtype for a in merged if _has(a))
        weights = [_weight(graph, addend).astype(dtype) for addend in merged]
        graph.weights[graph[conv].weight_name("weight")] = np.concatenate(weights, axis=1)
        if biases:
            bias = sum(bias.astype(np.float64) for bias in biases)
            graph.weights[graph[conv].weight_name("bias")] = np.asarray(bias, dtype)
        new = graph.add(f"{total.name}_left", Sum(), conv, *match.rest, origin=total.origin)
        graph.replace_uses(total.name, new)
        graph.remove(total.name)
        for addend in merged:
            graph.remove(addend.name)


def _plain(addend: Node) -> Conv | None:
    """The 1x1 convolution of its widths with nothing special, for comparison."""
    if not isinstance(addend.op, Conv):
        return None
    return Conv(addend.op.in_channels, addend.op.out_channels, bias=addend.op.bias)


def _has(addend: Node) -> bool:
    return isinstance(addend.op, Conv)


def _weight(graph: Graph, addend: Node) -> NDArray[Any]:
    if _has(addend):
        return graph.weights[addend.weight_name("weight")]
    return np.eye(addend.type.channels, dtype=np.float32)[:, :, None, None]
