"""A 1x1 convolution of a concatenation as the sum of one convolution a part.

    [A, B] * [a; b]  =  A * a + B * b

Exact, because a convolution adds up its input channels. The concatenation, a copy of its whole
output, is gone. The bias stays with the first part.

It does not fire where the convolution is no 1x1 or has groups, or where the concatenation is an
output or is read by anybody but such convolutions, who would still need it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.graph import Graph, Node
from compiler.ops import Concat, Conv, Sum


@dataclass(frozen=True)
class Match:
    """The concatenation and one of its readers."""

    concat: Node
    conv: Node


class SplitPointwise:
    """See the module."""

    name = "split_pointwise"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """A 1x1 convolution of two parts or more that only such convolutions read together."""
        if not _is_pointwise(node):
            return None
        concat = graph[node.operands[0]]
        several = isinstance(concat.op, Concat) and len(concat.operands) > 1
        needed = concat.name in graph.outputs.values() or not all(
            _is_pointwise(graph[name]) for name in graph.users(concat.name)
        )
        return Match(concat, node) if several and not needed else None

    def rewrite(self, graph: Graph, match: Match) -> None:
        """A convolution for each part, and their sum."""
        concat, conv = match.concat, match.conv
        assert isinstance(conv.op, Conv)
        weight = graph.weights[conv.weight_name("weight")]
        parts, begin = [], 0
        for index, operand in enumerate(concat.operands):
            end = begin + graph[operand].type.channels
            has_bias = conv.op.bias and index == 0
            op = replace(conv.op, in_channels=end - begin, bias=has_bias)
            part = graph.add(f"{conv.name}_part{index}", op, operand, origin=conv.origin)
            graph.weights[graph[part].weight_name("weight")] = weight[:, begin:end]
            if has_bias:
                bias = graph.weights[conv.weight_name("bias")]
                graph.weights[graph[part].weight_name("bias")] = bias
            parts.append(part)
            begin = end
        total = graph.add(f"{conv.name}_sum", Sum(), *parts, origin=conv.origin)
        graph.replace_uses(conv.name, total)
        graph.remove(conv.name)
        if not graph.users(concat.name):
            graph.remove(concat.name)


def _is_pointwise(node: Node) -> bool:
    return isinstance(node.op, Conv) and node.op.is_pointwise
