"""A graph that takes images, or answers with class numbers, or both."""

from __future__ import annotations

from collections.abc import Collection

from compiler.graph import Graph, Node, Origin
from compiler.lower import CLASSES, IMAGE, INPUT, OUTPUT
from compiler.ops import ArgMax, Input, Prepare
from datac.documents.network import Preprocessing

PREPROCESS, ARGMAX = "preprocess", "argmax"


def embedded(graph: Graph, how: Preprocessing | None, parts: Collection[str]) -> Graph:
    """The same network between `image` (N, H, W, C) uint8 RGB and `classes` (N, ...) int32.

    `preprocess` takes the first, which has the network's size already (nothing is resized in it),
    `argmax` answers with the second; what is left out stays as it was. The value that the network
    itself reads keeps its name. ValueError for preprocessing that nobody stated.
    """
    if not parts:
        return graph
    result = Graph()
    for node in graph.nodes():
        if isinstance(node.op, Input) and PREPROCESS in parts:
            _add_prepare(result, node, how)
        else:
            result.add(node.name, node.op, *node.operands, origin=node.origin)
            result.weights |= {name: graph.weights[name] for name in node.weight_specs()}
    for key, name in graph.outputs.items():
        if key == OUTPUT and ARGMAX in parts:
            result.add(CLASSES, ArgMax(), name, origin=Origin(part=CLASSES))
            result.set_output(CLASSES, CLASSES)
        else:
            result.set_output(key, name)
    return result


def _add_prepare(graph: Graph, node: Node, how: Preprocessing | None) -> None:
    if how is None:
        raise ValueError("the network does not say how an image is prepared")
    batch, channels, height, width = node.type.shape
    graph.add(IMAGE, Input((batch, height, width, channels), "uint8"), origin=Origin(part=IMAGE))
    op = Prepare(
        tuple(255 * value for value in how.mean),
        tuple(1 / (255 * value) for value in how.standard_deviation),
        reverse=how.color_order == "BGR",
    )
    graph.add(INPUT, op, IMAGE, origin=node.origin)
