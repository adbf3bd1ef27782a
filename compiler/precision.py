"""A graph in another floating-point type: casts between nodes, and weights that it can hold.

Types stand in the graph, and so in the ONNX, never in flags of a builder: that is the one form that
every runtime obeys.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.ops import Cast, Input

FLOAT32 = "float32"
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, FLOAT32: 3.4028e38}
"""Element type → its largest finite number."""


def typed(graph: Graph, dtype: str, keep: Collection[str] = ()) -> Graph:
    """The same graph computed in `dtype` ("float16", "bfloat16"), but for the nodes `keep`.

    Inputs and outputs stay float32. Weights stay float32 arrays, but hold the values that `dtype`
    gives them, so whoever runs the graph in float64 runs what was deployed; the emitter writes
    them in the type of their node. ValueError for a weight that is too large for `dtype`.
    """
    return _Typing(graph, dtype, {*keep}).result()


class _Typing:
    def __init__(self, graph: Graph, dtype: str, keep: set[str]) -> None:
        self._source, self._dtype, self._keep = graph, dtype, keep
        self._typed = Graph()

    def result(self) -> Graph:
        for node in self._source.nodes():
            self._add(node)
        for key, name in self._source.outputs.items():
            self._typed.set_output(key, self._as(name, FLOAT32))
        return self._typed

    def _add(self, node: Node) -> None:
        if isinstance(node.op, Input):
            self._typed.add(node.name, node.op, origin=node.origin)
            return
        kept = node.name in self._keep
        dtype = FLOAT32 if kept else self._dtype
        operands = [self._as(name, dtype) for name in node.operands]
        self._typed.add(node.name, node.op, *operands, origin=node.origin)
        for name in node.weight_specs():
            array = self._source.weights[name]
            self._typed.weights[name] = array if kept else _rounded(array, dtype, name)

    def _as(self, name: str, dtype: str) -> str:
        """The value in that type: itself, or the one cast of it."""
        node = self._typed[name]
        if node.type.dtype == dtype:
            return name
        cast = f"{name}/to_{dtype}"
        if cast not in self._typed:
            self._typed.add(cast, Cast(dtype), name, origin=node.origin)
        return cast


def rounded(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Its values as `dtype` holds them, to nearest, ties to even; in the array's own type."""
    if dtype == FLOAT32:
        return array
    with np.errstate(over="ignore"):  # the caller looks for infinite values
        return array.astype(numpy_type(dtype)).astype(array.dtype)


def numpy_type(dtype: str) -> np.dtype[Any]:
    """The element type as numpy knows it; bfloat16 from ml_dtypes, which onnx brings."""
    if dtype == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(dtype)


def _rounded(array: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    result = rounded(array, dtype)
    if not np.isfinite(result).all():
        raise ValueError(
            f"{name} has values up to {np.abs(array).max():.3g}, and {dtype} ends at "
            f"{LARGEST[dtype]:.5g}"
        )
    return result
