"""One ReLU for all who take the ReLU of a value.

    relu(x), relu(x)  =  r, r   with r = relu(x)

Exact: it is the same number computed once. Worth nothing by itself, since every engine does it; it
brings together what other passes merge.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph import Graph, Node
from compiler.ops import Relu
from compiler.rewrite import alike_readers


@dataclass(frozen=True)
class Match:
    """The ReLU that stays, and those that go."""

    first: Node
    others: tuple[Node, ...]


class ShareRelu:
    """See the module."""

    name = "share_relu"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """The first of several ReLUs of one value."""
        if not isinstance(node.op, Relu):
            return None
        same = alike_readers(graph, node, lambda reader: isinstance(reader.op, Relu))
        return None if same is None else Match(node, same[1:])

    def rewrite(self, graph: Graph, match: Match) -> None:
        """Everybody reads the first, which takes the origins of all."""
        origins = [*match.first.origin]
        for other in match.others:
            graph.replace_uses(other.name, match.first.name)
            graph.remove(other.name)
            origins += other.origin
        graph.set_op(match.first.name, match.first.op, tuple(dict.fromkeys(origins)))
