"""The networks that a latency table is measured on: candidates in a context, random genotypes."""

from __future__ import annotations

import numpy as np

from compiler.candidates import CANDIDATES, Place
from compiler.graph import Graph
from compiler.lower import INPUT, OUTPUT
from compiler.ops import Conv, Input, Relu, Sum
from compiler.path_places import PathPlace
from compiler.proof import randomise
from compiler.scope import Scope
from datac.documents.genotype import CELL_KINDS, Cell, Genotype, Node
from datac.documents.search_space import SearchSpace

COPIES = 3
"""Of a candidate in its context: more of them stand out better from the noise."""

MOST_PATHS = 4
"""Of a node in a random genotype."""


def context_graph(place: PathPlace, operation: str | None) -> Graph:
    """A convolution, paths that add to another's result, and a convolution that reads the sum.

    operation: of the paths; None leaves them out.
    """
    channels, height, width = place.shape
    graph = Graph()
    x = graph.add(INPUT, Input(("N", channels, height, width)))
    scope = Scope(graph)
    read = scope.add("preprocess", Conv(channels, channels, bias=True), x)
    stride = (place.stride, place.stride)
    base = scope.add("base", Conv(channels, channels, stride=stride, bias=True), read)
    where = Place(channels, place.stride, place.dilation, unstrided=place.unstrided)
    added = [base]
    for copy in range(COPIES if operation is not None else 0):
        inner = scope.inside(f"cell0/node2/path{copy}", cell=0, node=2, path=copy)
        assert operation is not None
        added.append(CANDIDATES[operation](inner, read, where))
    total = scope.add("sum", Sum(), *added)
    after = scope.add(
        "after", Conv(channels, channels, bias=True), scope.add("relu", Relu(), total)
    )
    graph.set_output(OUTPUT, after)
    bind_randomly(graph, 0)
    return graph


def bind_randomly(graph: Graph, seed: int) -> None:
    """Random weights in float32; what they are takes no time."""
    randomise(graph, seed)
    graph.weights = {
        name: value.astype(np.float32) if value.dtype.kind == "f" else value
        for name, value in graph.weights.items()
    }


def random_genotype(space: SearchSpace, draw: np.random.Generator) -> Genotype:
    """Every node adds 1 to `MOST_PATHS` different paths, each set as likely as any of its size."""
    cells = {}
    for kind in CELL_KINDS:
        nodes = []
        for number in space.numbers():
            paths = space.paths(number)
            count = int(draw.integers(1, min(MOST_PATHS, len(paths)) + 1))
            chosen = sorted(draw.choice(len(paths), count, replace=False).tolist())
            nodes.append(Node(paths=tuple(paths[index] for index in chosen)))
        cells[kind] = Cell(nodes=tuple(nodes), output=tuple(space.numbers()))
    return Genotype(cells=cells)
