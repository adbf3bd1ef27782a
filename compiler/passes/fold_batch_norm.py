"""Fold a batch norm into the convolutions whose result it normalises.

    s · (W * x + b - μ) + β   with s = γ / sqrt(σ² + ε)
  = (s · W) * x + (s · (b - μ) + β)

Exact, because batch norm in inference is affine per channel and convolution is linear: output
channel k of W scales by s_k. Behind a concatenation each convolution takes its own slice of s,
μ and β (the stride-2 skip: `Concat` of two 1x1 convolutions). Computed in float64, stored in the
weights' own type. The convolutions keep their names, and so do their tensors.

It does not fire where
 1. the operand is neither a convolution nor a concatenation of convolutions (a pool);
 2. somebody else reads the convolution or the concatenation;
 3. one convolution stands twice in the concatenation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import BatchNorm, Concat, Conv

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """A batch norm, and the convolutions that cover its channels in order."""

    norm: Node
    convs: tuple[Node, ...]


class FoldBatchNorm:
    """See the module."""

    name = "fold_batch_norm"

    def match(self, graph: Graph, node: Node) -> Match | None:
        """A batch norm whose operand is a convolution, or a concatenation of such."""
        if not isinstance(node.op, BatchNorm):
            return None
        source = graph[node.operands[0]]
        if not graph.is_read_once(source.name):
            return None
        if isinstance(source.op, Conv):
            return Match(node, (source,))
        if not isinstance(source.op, Concat):
            return None
        convs = tuple(graph[name] for name in source.operands)
        if all(isinstance(conv.op, Conv) and graph.is_read_once(conv.name) for conv in convs):
            return Match(node, convs)
        return None

    def rewrite(self, graph: Graph, match: Match) -> None:
        """Scale the convolutions, give them a bias, and let the batch norm go."""
        norm, source = match.norm, match.norm.operands[0]
        scale, shift = _affine(graph, norm)
        begin = 0
        for conv in match.convs:
            end = begin + conv.type.channels
            _fold(graph, conv, scale[begin:end], shift[begin:end], norm)
            begin = end
        graph.replace_uses(norm.name, source)
        graph.remove(norm.name)


def _affine(graph: Graph, norm: Node) -> tuple[F64, F64]:
    """The scale s and the shift β - s · μ, (channels,) each."""
    assert isinstance(norm.op, BatchNorm)
    tensors = {key: graph.weights[norm.weight_name(key)] for key in norm.op.weights()}
    wide = {key: value.astype(np.float64) for key, value in tensors.items()}
    scale, shift = norm.op.scale_and_shift(wide)
    return scale.astype(np.float64), shift.astype(np.float64)


def _fold(graph: Graph, conv: Node, scale: F64, shift: F64, norm: Node) -> None:
    assert isinstance(conv.op, Conv)
    weight_name, bias_name = conv.weight_name("weight"), conv.weight_name("bias")
    weight = graph.weights[weight_name]
    bias = graph.weights[bias_name] if conv.op.bias else np.zeros(len(scale))
    origins = tuple(dict.fromkeys((*conv.origin, *norm.origin)))
    graph.set_op(conv.name, replace(conv.op, bias=True), origins)
    scaled = weight.astype(np.float64) * scale[:, None, None, None]
    graph.weights[weight_name] = scaled.astype(weight.dtype)
    graph.weights[bias_name] = (bias.astype(np.float64) * scale + shift).astype(weight.dtype)
