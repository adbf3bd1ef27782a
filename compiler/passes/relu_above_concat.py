"""The ReLU of a concatenation, taken of each part instead.

    relu([a; b])  =  [relu(a); relu(b)]

Exact, because ReLU looks at one number at a time. The parts are sums of paths, so a runtime can put
the ReLU into the last addition.

It does not fire where somebody else reads the concatenation, or it is an output.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph import Graph, Node
from compiler.ops import Concat, Relu


@dataclass(frozen=True)
class Match:
    """The concatenation and its one reader."""

    concat: Node
    relu: Node


class ReluAboveConcat:
    """See the module."""

    name = "relu_above_concat"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """A ReLU whose operand is a concatenation that nobody else reads."""
        if not isinstance(node.op, Relu):
            return None
        concat = graph[node.operands[0]]
        alone = graph.is_read_once(concat.name)
        return Match(concat, node) if isinstance(concat.op, Concat) and alone else None

    def rewrite(self, graph: Graph, match: Match) -> None:
        """A ReLU for each different part, and a new concatenation of them."""
        concat, relu = match.concat, match.relu
        parts = {
            part: graph.add(f"{relu.name}_part{index}", Relu(), part, origin=relu.origin)
            for index, part in enumerate(dict.fromkeys(concat.operands))
        }
        joined = graph.add(
            f"{concat.name}_of_relu",
            concat.op,
            *(parts[part] for part in concat.operands),
            origin=tuple(dict.fromkeys((*concat.origin, *relu.origin))),
        )
        graph.replace_uses(relu.name, joined)
        graph.remove(relu.name)
        graph.remove(concat.name)
