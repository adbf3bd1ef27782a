"""A path whose last convolution has no weight left but zero, taken out of its sum.

    0 * a + β + (B * b + γ)  =  B * b + (γ + β)

Exact: such a path is a constant, its bias, which another convolution of the same sum takes over. A
batch norm whose gain training has driven to zero leaves it, as does pruning.

It does not fire where the path's bias is not zero and no other addend is a convolution of its own,
where the path is read by somebody else, or where it is all there is in the sum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import Conv, Sum


@dataclass(frozen=True)
class Match:
    """The sum, the addend that is constant, and the convolution that takes its bias, if any."""

    total: Node
    constant: Node
    heir: Node | None


class RemoveZeroPaths:
    """See the module."""

    name = "remove_zero_paths"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """A sum with a convolution in it whose weights are all zero."""
        if not isinstance(node.op, Sum) or len(node.operands) < 2:
            return None
        addends = [graph[name] for name in node.operands if _own_conv(graph, graph[name])]
        for constant in addends:
            if graph.weights[constant.weight_name("weight")].any():
                continue
            others = [addend for addend in addends if addend is not constant]
            if not others and _bias(graph, constant).any():
                continue
            return Match(node, constant, others[0] if others else None)
        return None

    def rewrite(self, graph: Graph, match: Match) -> None:
        """A sum without the path; whatever only led to it goes with it."""
        total, constant, heir = match.total, match.constant, match.heir
        bias = _bias(graph, constant)
        if heir is not None and bias.any():
            assert isinstance(heir.op, Conv)
            own = _bias(graph, heir)
            graph.set_op(heir.name, replace(heir.op, bias=True), heir.origin)
            together = own.astype(np.float64) + bias.astype(np.float64)
            graph.weights[heir.weight_name("bias")] = together.astype(bias.dtype)
        left = [name for name in total.operands if name != constant.name]
        new = graph.add(f"{total.name}_live", Sum(), *left, origin=total.origin)
        graph.replace_uses(total.name, new)
        graph.remove(total.name)
        graph.remove_dead()


def _own_conv(graph: Graph, addend: Node) -> bool:
    return isinstance(addend.op, Conv) and graph.is_read_once(addend.name)


def _bias(graph: Graph, conv: Node) -> NDArray[Any]:
    assert isinstance(conv.op, Conv)
    if conv.op.bias:
        return graph.weights[conv.weight_name("bias")]
    return np.zeros(conv.op.out_channels, graph.weights[conv.weight_name("weight")].dtype)
