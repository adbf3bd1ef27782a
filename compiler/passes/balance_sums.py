"""Sums as a tree of pairs instead of a chain.

    ((a + b) + c) + d  =  (a + b) + (c + d)

Exact for real numbers, and so to rounding: the order of additions is free. Two halves of a sum do
not wait for one another, and each convolution has an addition of its own to take in.

It does not fire on sums of three or fewer, which are a chain either way.
"""

from __future__ import annotations

from compiler.graph import Graph, Node
from compiler.ops import Sum

FEWEST = 4


class BalanceSums:
    """See the module."""

    name = "balance_sums"

    def match(self, graph: Graph, node: Node) -> Node | None:
        """A sum of four or more."""
        del graph
        return node if isinstance(node.op, Sum) and len(node.operands) >= FEWEST else None

    def rewrite(self, graph: Graph, match: Node) -> None:
        """The sum of two sums, each of one half; what is left of it is looked at again."""
        half = (len(match.operands) + 1) // 2
        left = graph.add(f"{match.name}_left", Sum(), *match.operands[:half], origin=match.origin)
        right = graph.add(f"{match.name}_right", Sum(), *match.operands[half:], origin=match.origin)
        both = graph.add(f"{match.name}_both", Sum(), left, right, origin=match.origin)
        graph.replace_uses(match.name, both)
        graph.remove(match.name)
