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
    circle = graph.circle()
    if circle:
        raise ValueError(f"{circle[0]} reads its own result, by way of {', '.join(circle[1:])}")
    for node in graph.nodes():
        _check_slots(graph, node)
        _check_type(graph, node)
    _check_outputs(graph)
    if graph.weights:
        _check_weights(graph)
    dead = [node.name for node in graph.nodes() if not graph.is_read(node.name)]
    if dead:
        raise ValueError(f"{dead[0]} reaches no output")


def _check_slots(graph: Graph, node: Node) -> None:
    slots = graph.slots(node.name)
    if slots != tuple(range(len(slots))):
        raise ValueError(f"{node.name} has operands in the slots {slots}")


def _check_outputs(graph: Graph) -> None:
    if not graph.outputs:
        raise ValueError("the graph has no output")
    for key, name in graph.outputs.items():
        if name not in graph:
            raise ValueError(f"output {key} reads {name}, which does not exist")


def _check_type(graph: Graph, node: Node) -> None:
    try:
        inferred = node.op.infer(*graph.operand_types(node))
    except ValueError as error:
        raise ValueError(f"{node.name}: {error}") from error
    if inferred != node.type:
        raise ValueError(f"{node.name} has type {node.type}, its operation infers {inferred}")


def _check_weights(graph: Graph) -> None:
    specs = graph.weight_specs()
    for name in sorted(specs.keys() ^ graph.weights.keys()):
        lacking = "no weight" if name in specs else "a weight without a node:"
        raise ValueError(f"the graph has {lacking} {name}")
    for name, spec in specs.items():
        weight = graph.weights[name]
        # A proof binds float64 where the graph says float32, hence the kind alone.
        if weight.shape != spec.shape or weight.dtype.kind != np.dtype(spec.dtype).kind:
            raise ValueError(
                f"{name} is {weight.dtype}{weight.shape}, not {spec.dtype}{spec.shape}"
            )
