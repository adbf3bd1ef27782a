"""The graphs of a supernet's parts: what stands before, between and behind the mixed nodes."""

from __future__ import annotations

from compiler.cell import CellPlan, preprocess
from compiler.graph import Graph
from compiler.lower import INPUT, OUTPUT
from compiler.ops import Input, TensorType
from compiler.scope import Scope
from compiler.skeletons import SKELETONS
from datac.documents.network import Network

TwoTypes = tuple[TensorType, TensorType]
"""Of a cell's inputs 0 and 1."""


def stem_graph(network: Network, image: TensorType) -> Graph:
    """Image → `state0`, `state1`: the inputs of the first cell."""
    graph = Graph()
    x = graph.add(INPUT, Input(image.shape))
    states = SKELETONS[network.skeleton].stem(Scope(graph), x, network)
    return _with_outputs(graph, states, "state")


def preprocess_graph(plan: CellPlan, states: TwoTypes) -> Graph:
    """`state0`, `state1` → `input0`, `input1`, of the cell's width and of one size."""
    graph = Graph()
    sources = [graph.add(f"state{i}", Input(state.shape)) for i, state in enumerate(states)]
    inputs = preprocess(Scope(graph), plan, (sources[0], sources[1]), "search")
    return _with_outputs(graph, inputs, "input")


def head_graph(network: Network, features: TensorType, image: TensorType) -> Graph:
    """Features, and the image for its size → logits."""
    graph = Graph()
    source = graph.add("features", Input(features.shape))
    x = graph.add(INPUT, Input(image.shape))
    head = SKELETONS[network.skeleton].head
    graph.set_output(OUTPUT, head(Scope(graph), source, x, network))
    return graph


def output_types(graph: Graph) -> TwoTypes:
    """Of a graph with two outputs."""
    first, second = (graph[name].type for name in graph.outputs.values())
    return first, second


def _with_outputs(graph: Graph, values: tuple[str, str], name: str) -> Graph:
    for index, value in enumerate(values):
        graph.set_output(f"{name}{index}", value)
    return graph
