"""Channels filled up with zeros to a multiple of what a runtime computes at once.

    relu, pool, depthwise, sum of zeros  =  zeros;      [A, 0] * [a; 0]  =  A * a

Exact: the channels added are zero wherever they are, since the convolution that makes them has zero
weights and no bias there, and nobody weighs them. ONNX Runtime keeps maps in blocks of 16 channels
and goes back to rows for any other number. Whether 36 channels then cost more than 48 is a question
of the net (docs/results/rewrites.md, docs/performance.md).

Where channels lie is one choice for all values that are added up, pooled or passed on, so this is
no question about one node: the graph is made anew. Values that flow into each other are
one *stream*.
A stream is padded if it begins in convolutions, or in a concatenation whose last part can take all
of the filling (the stride-2 skip). One that reaches an output, begins in an input, or is read by
what counts channels in another way stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import (
    AvgPool,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Op,
    PadEnd,
    Relu,
    ResizeLike,
    Scale,
    Shift,
    Sum,
)
from compiler.rewrite import Applied

BLOCK = 16
"""Of ONNX Runtime with AVX-512 (`MlasNchwcGetBlockSize`); 8 divides it, the one of AVX2."""

CHANNELWISE = (AvgPool, Flatten, GlobalAvgPool, Identity, MaxPool, PadEnd, Relu, Scale, Shift)
"""What treats every channel by itself and makes zeros of zeros."""

Places = NDArray[np.int64]
"""Channel of the graph before → where it lies in the one after."""


@dataclass(frozen=True)
class Layout:
    """Where the channels of a stream lie, and how many there are with the filling."""

    places: Places
    total: int

    @property
    def padded(self) -> bool:
        """Whether there is any filling."""
        return self.total > len(self.places)


class PadChannels:
    """See the module."""

    name = "pad_channels"

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block

    def rebuild(self, graph: Graph) -> tuple[Graph, list[Applied]]:
        """The graph with every stream filled up that can be, and where that began."""
        return _Padding(graph, self._block).result()


class _Padding:
    def __init__(self, graph: Graph, block: int) -> None:
        self._source, self._block = graph, block
        self._streams = _streams(graph)
        self._members: dict[str, list[Node]] = {}
        for node in graph.nodes():
            self._members.setdefault(self._streams[node.name], []).append(node)
        self._layouts: dict[str, Layout] = {}
        self._fillings = self._filled_concats()
        self._fixed = self._fixed_streams()

    def result(self) -> tuple[Graph, list[Applied]]:
        padded, log = Graph(), []
        for node in self._source.nodes():
            self._add(padded, node)
            if _begins(node) and isinstance(node.op, Conv) and self._layouts[node.name].padded:
                log.append(Applied(PadChannels.name, node.name))
        for key, name in self._source.outputs.items():
            padded.set_output(key, name)
        return (padded, log) if log else (self._source, [])

    # ---- which streams can be padded ---------------------------------------------------------

    def _filled_concats(self) -> dict[str, str]:
        """Concatenation in a stream with other beginnings → its last part, which takes the filling.

        Each part has to be a convolution that nobody else reads.
        """
        found = {}
        for members in self._members.values():
            concats = [node for node in members if isinstance(node.op, Concat)]
            if sum(map(_begins, members)) == len(concats) == 1:
                continue  # alone: its layout is that of its parts
            for node in concats:
                parts = [self._source[name] for name in node.operands]
                if all(_is_whole(p.op) and self._source.is_read_once(p.name) for p in parts):
                    found[node.name] = parts[-1].name
        return found

    @property
    def _outputs(self) -> set[str]:
        return {*self._source.outputs.values()}

    def _fixed_streams(self) -> set[str]:
        """Streams that stay as they are: and then so do the parts of a concatenation in them."""
        fixed: set[str] = set()
        left = [stream for stream in self._members if self._must_stay(stream)]
        left += [
            self._streams[part]
            for concat in self._fillings
            for part in self._source.operands(concat)
        ]
        while left:
            stream = left.pop()
            if stream in fixed:
                continue
            fixed.add(stream)
            for node in self._members[stream]:
                if isinstance(node.op, Concat):
                    left += [self._streams[name] for name in node.operands]
        return fixed

    def _must_stay(self, stream: str) -> bool:
        members = self._members[stream]
        if self._outputs & {node.name for node in members}:
            return True
        readers = {user for node in members for user in self._source.users(node.name)}
        if not all(_may_read_filling(self._source[name]) for name in readers):
            return True
        begins = [node for node in members if _begins(node)]
        concats = [node for node in begins if isinstance(node.op, Concat)]
        if len(begins) == len(concats) == 1:
            return False
        if not all(isinstance(node.op, Concat) or _is_whole(node.op) for node in begins):
            return True
        return not all(node.name in self._fillings for node in concats)

    # ---- the graph anew ----------------------------------------------------------------------

    def _layout(self, node: Node) -> Layout:
        """Of a node whose operands have one already."""
        own = [self._layouts[name] for name in _passed_on(node)]
        if own:
            return own[0]
        if isinstance(node.op, Concat):
            return _joined([self._layouts[name] for name in node.operands])
        channels = node.type.channels
        filled = next((c for c, part in self._fillings.items() if part == node.name), None)
        if filled is not None and self._streams[filled] not in self._fixed:
            return _first(channels, channels + self._filling(self._source[filled].type.channels))
        if self._streams[node.name] in self._fixed or not isinstance(node.op, Conv):
            return _first(channels, channels)
        return _first(channels, channels + self._filling(channels))

    def _filling(self, channels: int) -> int:
        return -channels % self._block

    def _add(self, padded: Graph, node: Node) -> None:
        layout = self._layouts[node.name] = self._layout(node)
        op = node.op
        weights = {key: self._source.weights[node.weight_name(key)] for key in op.weights()}
        if isinstance(op, Conv):
            op, weights = self._conv(node, op, layout, weights)
        elif isinstance(op, Linear):
            read = self._layouts[node.operands[0]]
            op = replace(op, in_features=read.total)
            weights["weight"] = _spread(weights["weight"], 1, read)
        padded.add(node.name, op, *node.operands, origin=node.origin)
        padded.weights |= {node.weight_name(key): value for key, value in weights.items()}

    def _conv(
        self, node: Node, op: Conv, layout: Layout, tensors: dict[str, NDArray[Any]]
    ) -> tuple[Conv, dict[str, NDArray[Any]]]:
        read = self._layouts[node.operands[0]]
        weights = {key: _spread(value, 0, layout) for key, value in tensors.items()}
        if op.is_depthwise:
            wide = replace(
                op, in_channels=read.total, out_channels=layout.total, groups=layout.total
            )
            return wide, weights
        weights["weight"] = _spread(weights["weight"], 1, read)
        return replace(op, in_channels=read.total, out_channels=layout.total), weights


def _streams(graph: Graph) -> dict[str, str]:
    """Node → the first node of its stream."""
    first: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for node in graph.nodes():
        met = dict.fromkeys(first[operand] for operand in _passed_on(node))
        stream, *others = met or [node.name]
        members.setdefault(stream, []).append(node.name)
        for other in others:
            members[stream] += members.pop(other)
        first |= dict.fromkeys(members[stream] if others else [node.name], stream)
    return first


def _passed_on(node: Node) -> tuple[str, ...]:
    """The operands whose channels are those of the node, one for one."""
    if isinstance(node.op, Sum):
        return node.operands
    if isinstance(node.op, CHANNELWISE) or (isinstance(node.op, Conv) and node.op.is_depthwise):
        return node.operands
    return node.operands[:1] if isinstance(node.op, ResizeLike) else ()


def _begins(node: Node) -> bool:
    """Whether its channels are its own."""
    return not _passed_on(node)


def _is_whole(op: Op) -> bool:
    """Whether it is a convolution in which every output reads every input."""
    return isinstance(op, Conv) and op.groups == 1


def _may_read_filling(node: Node) -> bool:
    known = isinstance(node.op, Concat | Linear) or _is_whole(node.op)
    return known or bool(_passed_on(node))


def _first(channels: int, total: int) -> Layout:
    return Layout(np.arange(channels), total)


def _joined(parts: list[Layout]) -> Layout:
    begins = np.cumsum([0, *(part.total for part in parts)])
    places = [part.places + begin for part, begin in zip(parts, begins, strict=False)]
    return Layout(np.concatenate(places), int(begins[-1]))


def _spread(array: NDArray[Any], axis: int, layout: Layout) -> NDArray[Any]:
    """The entries of one axis, each at its place among zeros."""
    if not layout.padded:
        return array
    shape = [layout.total if at == axis else size for at, size in enumerate(array.shape)]
    wide = np.zeros(shape, array.dtype)
    wide[(slice(None),) * axis + (layout.places,)] = array
    return wide
