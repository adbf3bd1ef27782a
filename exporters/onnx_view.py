"""An ONNX graph to look at: who makes a value, who reads it, and attributes without gaps.

What an exporter leaves out because it is the default and what it writes down look the same here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from exporters.onnx_file import check_wiring

WINDOWED = ("Conv", "MaxPool", "AveragePool")
"""Operations over (height, width); ONNX states these defaults in prose alone."""


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """One node. `index` is its place in the file, after the nodes that it reads."""

    index: int
    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(repr=False)

    @property
    def output(self) -> str:
        """Its first value; every node that datac writes has one."""
        return self.outputs[0] if self.outputs else ""

    @property
    def label(self) -> str:
        """What a sentence calls it."""
        return self.name or f"the {self.op_type} that makes {self.output}"


class OnnxView:
    """Read-only. `tensors` are the initialisers. BadInput where the nodes form a circle."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        # Whoever walks from value to maker must come to an end.
        check_wiring(graph, "the model")
        opset = max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1
        )
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = tuple(v.name for v in graph.input if v.name not in self.tensors)
        self.outputs = tuple(value.name for value in graph.output)
        self.nodes = tuple(
            _node(index, node, opset, self.tensors) for index, node in enumerate(graph.node)
        )
        self._makers = {name: node for node in self.nodes for name in node.outputs if name}
        self._readers: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self._readers.setdefault(name, []).append(node)

    def maker(self, value: str, op_type: str | None = None) -> OnnxNode | None:
        """The node that makes a value, if it is of this type; None for inputs and weights."""
        node = self._makers.get(value)
        return node if node is not None and op_type in (None, node.op_type) else None

    def readers(self, value: str) -> tuple[OnnxNode, ...]:
        """The nodes that read a value."""
        return tuple(self._readers.get(value, ()))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an initialiser, () where there is none of that name."""
        tensor = self.tensors.get(name)
        return tuple(tensor.dims) if tensor is not None else ()

    def array(self, name: str) -> NDArray[np.generic] | None:
        """The content of an initialiser."""
        tensor = self.tensors.get(name)
        return None if tensor is None else array_of(tensor)


def array_of(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    """The content of a tensor."""
    content: NDArray[np.generic] = numpy_helper.to_array(tensor)
    return content


def _node(
    index: int, node: onnx.NodeProto, opset: int, tensors: Mapping[str, onnx.TensorProto]
) -> OnnxNode:
    inputs = list(node.input)
    while inputs and not inputs[-1]:
        inputs.pop()
    attributes = dict(_defaults(node.op_type, node.domain, opset))
    if node.op_type in WINDOWED:
        weight = tensors.get(node.input[1]) if node.op_type == "Conv" and len(inputs) > 1 else None
        attributes |= {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
        attributes |= {"kernel_shape": list(weight.dims[2:])} if weight is not None else {}
    attributes |= {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
    op_type = (
        f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
    )
    return OnnxNode(index, node.name, op_type, tuple(inputs), tuple(node.output), attributes)


@lru_cache(maxsize=512)
def _defaults(op_type: str, domain: str, opset: int) -> Mapping[str, Any]:
    """The defaults that ONNX itself states for an operation of this opset."""
    try:
        schema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return {}
    stated = {name: attribute.default_value for name, attribute in schema.attributes.items()}
    return {
        name: _plain(helper.get_attribute_value(value))
        for name, value in stated.items()
        if value.type
    }


def _plain(value: Any) -> Any:
    """An attribute's value in a form that compares and prints well."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, onnx.TensorProto):
        content = array_of(value)
        return (str(content.dtype), content.shape, content.tobytes())
    if isinstance(value, list | tuple) or hasattr(value, "__iter__"):
        return [_plain(item) for item in value]
    return value.SerializeToString(deterministic=True)
