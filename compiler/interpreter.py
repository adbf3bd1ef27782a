"""A graph, run node by node in numpy: the one way to compute it where there is no torch.

It is slow and plain, and shares nothing with a runtime but the meaning of the operations, so what
an engine answers can be held against it place by place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import Input

Array = NDArray[np.floating[Any]]
Values = dict[str, Array]
"""Name of a node → what it computed."""

After = Callable[[Node, Mapping[str, Array], tuple[Array, ...], Array], Array]
"""(node, its weights by their suffix, its operands, its result) → the result to go on with."""


class Interpreter:
    """Runs a graph, or some of its nodes, in one floating-point type."""

    def __init__(
        self,
        graph: Graph,
        dtype: type[np.floating[Any]] = np.float64,
        nodes: Collection[str] | None = None,
    ) -> None:
        """`nodes`: the only ones that will be run; None for all."""
        self.nodes = {n.name: n for n in graph.nodes() if nodes is None or n.name in nodes}
        self.outputs = dict(graph.outputs)
        self._place = {name: place for place, name in enumerate(self.nodes)}
        self._dtype = dtype
        self._weights = {
            name: {
                key: graph.weights[node.weight_name(key)].astype(dtype) for key in node.op.weights()
            }
            for name, node in self.nodes.items()
        }

    def run(
        self,
        inputs: Mapping[str, NDArray[np.generic]],
        *,
        wanted: Collection[str] = (),
        names: Collection[str] | None = None,
        after: After | None = None,
    ) -> Values:
        """The values of the nodes `wanted`; of none: the graph's outputs, by the outputs' names.

        inputs: values that are given, of the graph's inputs or of any other node.
        names: the nodes to run; None for all that are not given.
        after: sees every result and answers with the one to go on with.
        """
        values = {name: value.astype(self._dtype) for name, value in inputs.items()}
        keep = {*(wanted or self.outputs.values())}
        left = self.nodes if names is None else sorted(names, key=self._place.__getitem__)
        order = [
            self.nodes[name]
            for name in left
            if name not in values and not isinstance(self.nodes[name].op, Input)
        ]
        last_use = {operand: node.name for node in order for operand in node.operands}
        for node in order:
            operands = tuple(values[name] for name in node.operands)
            weights = self._weights[node.name]
            result = node.op.compute(weights, *operands)
            values[node.name] = after(node, weights, operands, result) if after else result
            for name in {*node.operands} - keep:
                if last_use[name] == node.name:
                    del values[name]
        if wanted:
            return {name: values[name] for name in wanted}
        return {key: values[name] for key, name in self.outputs.items()}
