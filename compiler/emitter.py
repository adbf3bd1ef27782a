"""What an operation writes ONNX through, so that it knows nothing of files and protobuf."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Emitter(Protocol):
    """Writes ONNX nodes for one graph node at a time.

    A value without `part` is the graph node's own; an operation that needs several ONNX nodes
    names all but the last.
    """

    def node(
        self, op_type: str, inputs: Sequence[str], *, part: str = "", **attributes: Any
    ) -> str:
        """Append an ONNX node and answer with the name of its one output."""

    def weight(self, suffix: str) -> str:
        """The initialiser that holds the weight `suffix` of the graph node at hand."""

    def constant(self, value: NDArray[np.generic], part: str) -> str:
        """An initialiser with this value, named after the graph node at hand."""
