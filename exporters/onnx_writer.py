"""A graph, written as ONNX: the emitter, and the canonical `model.onnx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compiler.graph import Graph, Node
from compiler.ops import Input, TensorType
from compiler.precision import numpy_type
from datac.errors import BadInput

OPSET = 18
"""At 19 and later ONNX Runtime takes a slow AveragePool (docs/performance.md)."""

TUNED_OPSETS = (21,)
"""What tuning tries besides: a newer one lets a runtime choose other kernels."""

BF16_OPSET = 22
"""The first at which convolutions and pools take bfloat16."""

IR_VERSION = 10
"""The oldest that knows opset 18 features used here and that every target reads."""

DYNAMIC_AXES = ("N", "C", "H", "W")
IMAGE_AXES = ("N", "H", "W", "C")
PROTOBUF_LIMIT = 2**31 - 1


class OnnxWriter:
    """Writes the ONNX nodes and initialisers of one graph. The `compiler.emitter.Emitter`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._node: Node | None = None
        self._values: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}

    def write(self) -> None:
        """Every node of the graph, in order."""
        for node in self._graph.nodes():
            self._node = node
            if isinstance(node.op, Input):
                self._values[node.name] = node.name
            else:
                operands = [self._values[name] for name in node.operands]
                self._values[node.name] = node.op.to_onnx(self, *operands)

    def value(self, name: str) -> str:
        """The ONNX value of a graph node."""
        return self._values[name]

    # ---- the Emitter that operations write through ----------------------------------------

    def node(
        self, op_type: str, inputs: Sequence[str], *, part: str = "", **attributes: Any
    ) -> str:
        """See `compiler.emitter`."""
        name = self._name(part)
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name, **attributes))
        return name

    def weight(self, suffix: str) -> str:
        """See `compiler.emitter`."""
        assert self._node is not None
        name = self._node.weight_name(suffix)
        if name not in self.initialisers:
            self._initialise(name, self._in_its_type(self._graph.weights[name]))
        return name

    def constant(self, value: NDArray[np.generic], part: str) -> str:
        """See `compiler.emitter`."""
        name = self._name(part)
        self._initialise(name, self._in_its_type(value))
        return name

    def _in_its_type(self, value: NDArray[np.generic]) -> NDArray[np.generic]:
        """Floating-point constants have the type of the node that reads them."""
        assert self._node is not None
        return value.astype(numpy_type(self._node.type.dtype)) if value.dtype.kind == "f" else value

    def _initialise(self, name: str, value: NDArray[np.generic]) -> None:
        contiguous = np.ascontiguousarray(value).reshape(value.shape)
        self.initialisers[name] = numpy_helper.from_array(contiguous, name)

    def _name(self, part: str) -> str:
        assert self._node is not None
        return f"{self._node.label}/{part}" if part else self._node.label


def write_onnx(graph: Graph, metadata: Mapping[str, str], opset: int = OPSET) -> onnx.ModelProto:
    """The model of a folded graph, batch, height and width left open; checked, shapes inferred.

    `metadata` goes into the model's own properties. Raises BadInput above 2 GB, where ONNX
    would need a second file.
    """
    writer = OnnxWriter(graph)
    writer.write()
    outputs = []
    for key, name in graph.outputs.items():
        writer.nodes.append(helper.make_node("Identity", [writer.value(name)], [key], key))
        outputs.append(_value_info(key, graph[name].type))
    inputs = [_value_info(node.name, node.type) for node in graph.inputs]
    initialisers = list(writer.initialisers.values())
    body = helper.make_graph(writer.nodes, "datac", inputs, outputs, initialisers)
    model = helper.make_model(
        body,
        producer_name="datac",
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    if model.ByteSize() > PROTOBUF_LIMIT:
        raise BadInput("the model is larger than 2 GB, the limit of one ONNX file")
    onnx.checker.check_model(model, full_check=True)  # which infers all types and shapes too
    return model


def _value_info(name: str, type_: TensorType) -> onnx.ValueInfoProto:
    """Batch, height and width are open. Channels are not: the last axis of an image, else axis 1.

    Of integers: an image (N, H, W, C), or class numbers (N, H, W) or (N).
    """
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(type_.dtype))
    if type_.dtype == "float32":
        axes: Sequence[str] = DYNAMIC_AXES
        channels = 1
    else:
        axes, channels = IMAGE_AXES, 3
    shape = [size if axis == channels else axes[axis] for axis, size in enumerate(type_.shape)]
    return helper.make_tensor_value_info(name, kind, shape)
