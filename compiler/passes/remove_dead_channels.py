"""Channels that are zero between two convolutions of a path, left out.

    Q * (D * relu(P * x + β)),   D depthwise:   channel c does not count if D_c = 0,
                                                or if P_c = 0 and β_c <= 0

Exact: what is left out is a sum of zeros. Between the two halves of a separable convolution a
channel belongs to nobody else, so P loses a row, D a channel and Q a column.

It does not fire where a value between is read by somebody else, or where D has a bias, which makes
its zeros something; and one channel always stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import Conv, Relu


@dataclass(frozen=True)
class Match:
    """First convolution, ReLU, depthwise, last convolution, and the channels that stay."""

    first: Node
    relu: Node
    depthwise: Node
    last: Node
    live: tuple[int, ...]


class RemoveDeadChannels:
    """See the module."""

    name = "remove_dead_channels"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """The last convolution of such a chain in which some channel is dead."""
        if not (isinstance(node.op, Conv) and node.op.groups == 1):
            return None
        depthwise = graph[node.operands[0]]
        if not (_is_depthwise(depthwise) and graph.is_read_once(depthwise.name)):
            return None
        relu = graph[depthwise.operands[0]]
        if not (isinstance(relu.op, Relu) and graph.is_read_once(relu.name)):
            return None
        first = graph[relu.operands[0]]
        whole = isinstance(first.op, Conv) and first.op.groups == 1
        if not (whole and graph.is_read_once(first.name)):
            return None
        dead = _zero(graph, depthwise) | (_zero(graph, first) & (_bias(graph, first) <= 0))
        live = tuple(np.flatnonzero(~dead).tolist()) or (0,)
        return Match(first, relu, depthwise, node, live) if len(live) < len(dead) else None

    def rewrite(self, graph: Graph, match: Match) -> None:
        """The same four nodes, narrower."""
        live, count = [*match.live], len(match.live)
        first, depthwise, last = (_op(node) for node in (match.first, match.depthwise, match.last))
        kept = {key: graph.weights[match.first.weight_name(key)][live] for key in first.weights()}
        narrow = _add(graph, match.first, replace(first, out_channels=count), kept)
        relu = graph.add(f"{match.relu.name}_live", Relu(), narrow, origin=match.relu.origin)
        kernel = graph.weights[match.depthwise.weight_name("weight")][live]
        op = replace(depthwise, in_channels=count, out_channels=count, groups=count)
        between = _add(graph, match.depthwise, op, {"weight": kernel}, relu)
        weights = {key: graph.weights[match.last.weight_name(key)] for key in last.weights()}
        weights["weight"] = weights["weight"][:, live]
        new = _add(graph, match.last, replace(last, in_channels=count), weights, between)
        graph.replace_uses(match.last.name, new)
        for node in (match.last, match.depthwise, match.relu, match.first):
            graph.remove(node.name)


def _add(
    graph: Graph, node: Node, op: Conv, weights: dict[str, NDArray[np.generic]], operand: str = ""
) -> str:
    name = graph.add(f"{node.name}_live", op, operand or node.operands[0], origin=node.origin)
    graph.weights |= {graph[name].weight_name(key): value for key, value in weights.items()}
    return name


def _op(node: Node) -> Conv:
    assert isinstance(node.op, Conv)
    return node.op


def _is_depthwise(node: Node) -> bool:
    """Without a bias, which would make something of its zeros."""
    return isinstance(node.op, Conv) and node.op.is_depthwise and not node.op.bias


def _zero(graph: Graph, node: Node) -> NDArray[np.bool_]:
    """(channels,): whether all weights of an output channel are zero."""
    weight = graph.weights[node.weight_name("weight")]
    flat = weight.reshape(len(weight), -1)
    return np.asarray(~flat.any(axis=1))


def _bias(graph: Graph, node: Node) -> NDArray[Any]:
    if _op(node).bias:
        return graph.weights[node.weight_name("bias")]
    return np.zeros(_op(node).out_channels)
