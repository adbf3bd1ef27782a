"""Which convolutions a few words mean: what an int8 engine is to leave in float32."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.graph import Graph, Node
from compiler.ops import Conv
from compiler.quantise import convolutions
from compiler.skeletons import SKELETONS
from datac.documents.genotype import CellKind
from datac.documents.network import Network
from datac.errors import BadInput

DEPTHWISE = "depthwise"
KINDS_OF_WORDS = (
    "stem, head, depthwise, a place (cell3/node2/path0) or the same path of all cells of a kind "
    "(normal/node2/path0)"
)


def kept_convolutions(graph: Graph, network: Network, words: Iterable[str]) -> tuple[str, ...]:
    """The convolutions of a canonical graph that the words name, in the graph's order.

    BadInput for a word that names none.
    """
    kinds = kinds_of(network)
    found: set[str] = set()
    every = [graph[name] for name in convolutions(graph)]
    for word in words:
        named = {node.name for node in every if _is_named(node, word, kinds)}
        if not named:
            raise BadInput(f"no convolution of this network is {word}; name {KINDS_OF_WORDS}")
        found |= named
    return tuple(node.name for node in every if node.name in found)


def kinds_of(network: Network) -> dict[int, CellKind]:
    """Number of a cell → its kind."""
    return {plan.index: plan.kind for plan in SKELETONS[network.skeleton].plan(network)}


def _is_named(node: Node, word: str, kinds: dict[int, CellKind]) -> bool:
    assert isinstance(node.op, Conv)
    if word == DEPTHWISE:
        return node.op.groups == node.op.in_channels > 1
    return any(_within(place, word) for place in places_of(node, kinds)) or node.name == word


def places_of(node: Node, kinds: dict[int, CellKind]) -> tuple[str, ...]:
    """Its place, and the same as one of its kind of cells: `cell3/node2` and `normal/node2`."""
    if not node.origin:
        return (node.name,)
    origin = node.origin[0]
    own = str(origin)
    if origin.cell is None:
        return (own,)
    return own, own.replace(f"cell{origin.cell}", kinds[origin.cell], 1)


def _within(place: str, word: str) -> bool:
    return place == word or place.startswith(f"{word}/")
