"""1x1 convolutions of one value as one convolution, then sliced.

    [A; B] * x  =  [A * x; B * x]      (channels below one another)

Exact, because every output channel of a convolution is computed by itself. What the two preprocess
convolutions that read one cell's output become, once they share a ReLU.

It does not fire where
 1. a convolution is no 1x1, has groups, or has another stride, padding or bias than the first;
 2. only one reads the value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.graph import Graph, Node
from compiler.ops import ChannelSlice, Conv
from compiler.rewrite import alike_readers


@dataclass(frozen=True)
class Match:
    """The convolutions, in order of addition."""

    convs: tuple[Node, ...]


class MergePointwise:
    """See the module."""

    name = "merge_pointwise"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """The first of several alike 1x1 convolutions of one value."""
        if not (isinstance(node.op, Conv) and node.op.is_pointwise):
            return None
        convs = alike_readers(graph, node, lambda reader: _alike(node, reader))
        return None if convs is None else Match(convs)

    def rewrite(self, graph: Graph, match: Match) -> None:
        """One convolution; a slice of its channels in the place of each."""
        first = match.convs[0]
        assert isinstance(first.op, Conv)
        widths = [conv.type.channels for conv in match.convs]
        origins = tuple(dict.fromkeys(origin for conv in match.convs for origin in conv.origin))
        merged = f"{first.name}_merged"
        op = replace(first.op, out_channels=sum(widths))
        graph.add(merged, op, first.operands[0], origin=origins)
        for key in first.op.weights():
            parts = [graph.weights[conv.weight_name(key)] for conv in match.convs]
            graph.weights[graph[merged].weight_name(key)] = np.concatenate(parts)
        begin = 0
        for conv, width in zip(match.convs, widths, strict=True):
            part = graph.add(
                f"{conv.name}_slice",
                ChannelSlice(begin, begin + width),
                merged,
                origin=conv.origin,
            )
            graph.replace_uses(conv.name, part)
            graph.remove(conv.name)
            begin += width


def _alike(first: Node, other: Node) -> bool:
    assert isinstance(first.op, Conv)
    return isinstance(other.op, Conv) and other.op == replace(
        first.op, out_channels=other.op.out_channels
    )
