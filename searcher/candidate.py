"""A candidate as the supernet runs it: split where candidates on the same value can share."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from compiler.graph import Graph
from compiler.ops import BatchNorm, Input, Op
from compiler.torch_module import Build, GraphModule


class SearchCandidate:
    """One operation on one input: first → body → norm, each of which may be absent.

    first: an operation without weights on the input itself (ReLU, a pool, identity); those of all
    candidates that are equal are computed once for a value. norm: the batch norm at the end.
    `modules` holds what has weights, at the names that the candidate's graph gives them.
    """

    def __init__(self, graph: Graph, build: Build) -> None:
        (source,) = (node.name for node in graph.inputs)
        readers = graph.users(source)
        last = graph[graph.outputs["y"]]
        alone = len(readers) == 1 and not graph[readers[0]].op.weights()
        first = graph[readers[0]] if alone else None
        norm = last if isinstance(last.op, BatchNorm) and not last.op.affine else None
        begin = source if first is None else first.name
        end = last.name if norm is None else norm.operands[0]
        self.first: Op | None = None if first is None else first.op
        self._call: Callable[[Tensor], Tensor] | None = (
            None if first is None else first.op.to_torch()
        )
        self._body = GraphModule(_between(graph, begin, end), build) if end != begin else None
        self.modules: nn.Module = self._body or nn.Module()
        self.norm: nn.BatchNorm2d | None = None
        if norm is not None:
            self.norm = cast("nn.BatchNorm2d", build(norm.op))
            self.modules.add_module(norm.name, self.norm)

    @property
    def has_weights(self) -> bool:
        """Whether two of the same `first` can differ, batch statistics given."""
        return self._body is not None

    def begin(self, x: Tensor) -> Tensor:
        """What `first` makes of the input."""
        return x if self._call is None else self._call(x)

    def inner(self, begun: Tensor) -> Tensor:
        """From there to the last batch norm."""
        return begun if self._body is None else cast("Tensor", self._body(begun))

    def finish(self, begun: Tensor) -> Tensor:
        """From there to the end."""
        inner = self.inner(begun)
        return inner if self.norm is None else cast("Tensor", self.norm(inner))

    def finish_scaled(self, begun: Tensor, scale: Tensor) -> Tensor:
        """The same with the batch norm's result times `scale` (C)."""
        norm = self.norm
        if norm is None:
            raise ValueError("only a candidate that ends in a batch norm can be scaled")
        own = norm.training and not norm.track_running_stats
        if norm.training and not own:
            cast("Tensor", norm.num_batches_tracked).add_(1)
        return functional.batch_norm(
            self.inner(begun),
            None if own else norm.running_mean,
            None if own else norm.running_var,
            weight=scale,
            training=norm.training,
            momentum=cast("float", norm.momentum),
            eps=norm.eps,
        )


def _between(graph: Graph, begin: str, end: str) -> Graph:
    """The part of a graph that leads from one value to another, names kept."""
    part, kind = Graph(), graph[begin].type
    part.add(begin, Input(kind.shape, kind.dtype))
    outside = {begin, *graph[begin].operands, *graph.users(end)}
    for node in graph.nodes():
        if node.name not in outside:
            part.add(node.name, node.op, *node.operands)
    part.set_output("y", end)
    return part
