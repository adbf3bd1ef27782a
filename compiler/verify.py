"""The invariants of a graph, checked by whoever has edited one."""

from __future__ import annotations

import numpy as np

from compiler.graph import Graph, Node


def verify(graph: Graph) -> None:
    """ValueError that names the node where an invariant does not hold.

    Operands fill the slots 0, 1, ...; each type is what its operation infers; every weight is
    there (if any is bound), of its shape and kind of element, and none besides; outputs exist;
    every node reaches an output.
    """
    for node in graph.nodes():
        _check_type(graph, node)
    if not graph.outputs:
        raise ValueError("the graph has no output")
    if graph.weights:
        _check_weights(graph)
    dead = [
        node.name
        for node in graph.nodes()
        if not graph.users(node.name) and node.name not in graph.outputs.values()
    ]
    if dead:
        raise ValueError(f"{dead[0]} reaches no output")


def _check_type(graph: Graph, node: Node) -> None:
    inferred = node.op.infer(*graph.operand_types(node))
    if inferred != node.type:
        raise ValueError(f"{node.name} has type {node.type}, its operation infers {inferred}")


def _check_weights(graph: Graph) -> None:
    specs = graph.weight_specs()
    for name in specs.keys() ^ graph.weights.keys():
        lacking = "no weight" if name in specs else "a weight without a node:"
        raise ValueError(f"the graph has {lacking} {name}")
    for name, spec in specs.items():
        weight = graph.weights[name]
        # A proof binds float64 where the graph says float32, hence the kind alone.
        if weight.shape != spec.shape or weight.dtype.kind != np.dtype(spec.dtype).kind:
            raise ValueError(
                f"{name} is {weight.dtype}{weight.shape}, not {spec.dtype}{spec.shape}"
            )
