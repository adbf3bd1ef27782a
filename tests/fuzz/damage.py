"""Damaged bytes: what hypothesis draws to be handed to a reader in the place of a sound file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import onnx
from hypothesis import strategies as st

HOSTILE_NUMBERS = (0, -1, 1, 2**31, 2**31 - 1, -(2**63), 2**63 - 1, 2**64, 10**30, 1e308, -0.0)
HOSTILE_TEXT = (
    "", "\x00", "../../etc/passwd", "/dev/zero", "a" * 100_000, "\ud800", "NaN", "__class__",
    "{{7*7}}", "%s%n", "e\u0301", "cell0/node2/path0",
)  # fmt: skip


@st.composite
def cut_and_spliced(draw: st.DrawFn, sample: bytes) -> bytes:
    """Some of: bits flipped, a piece cut out, doubled, or replaced; the end cut off."""
    content = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        at = draw(st.integers(0, len(content) - 1))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(["flip", "cut", "double", "replace", "end", "random"])):
            case "flip":
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[at : at + length]
            case "double":
                content[at:at] = content[at : at + length]
            case "replace":
                content[at : at + length] = draw(st.binary(max_size=64))
            case "end":
                del content[at:]
            case "random":
                content[at:at] = draw(st.binary(max_size=64))
    return bytes(content)


@st.composite
def other_json(draw: st.DrawFn, sample: bytes) -> bytes:
    """The same document with values somewhere that do not belong there."""
    content = json.loads(sample)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(_places(content)))
        holder[key] = draw(_hostile_values())
    text = json.dumps(content)
    if draw(st.booleans()):
        depth = draw(st.sampled_from([10, 1000, 100_000]))
        text = text[:-1] + ', "more": ' + "[" * depth + "]" * depth + "}"
    return text.encode("utf-8", "surrogatepass")


def _hostile_values() -> st.SearchStrategy[Any]:
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(HOSTILE_NUMBERS),
        st.sampled_from(HOSTILE_TEXT),
        st.floats(),
        st.text(max_size=20),
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=10,
    )


def _places(content: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    found = []
    if isinstance(content, dict):
        pairs = list(content.items())
    elif isinstance(content, list):
        pairs = list(enumerate(content))
    else:
        return []
    for key, value in pairs:
        found.append((content, key))
        found += _places(value)
    return found


Edit = Callable[[onnx.GraphProto, onnx.NodeProto, onnx.TensorProto, int], None]


def _dims(_: onnx.GraphProto, __: onnx.NodeProto, tensor: onnx.TensorProto, number: int) -> None:
    tensor.dims[:] = [number, *tensor.dims]


def _type(_: onnx.GraphProto, __: onnx.NodeProto, tensor: onnx.TensorProto, number: int) -> None:
    tensor.data_type = number % 40


def _data(_: onnx.GraphProto, __: onnx.NodeProto, tensor: onnx.TensorProto, number: int) -> None:
    tensor.raw_data = b"x" * (number % 65)


def _elsewhere(
    _: onnx.GraphProto, __: onnx.NodeProto, tensor: onnx.TensorProto, number: int
) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    names = ["../x", "/dev/zero", "", "model.onnx"]
    tensor.external_data.add(key="location", value=names[number % len(names)])
    tensor.external_data.add(key="length", value=str(number))


def _operation(_: onnx.GraphProto, node: onnx.NodeProto, __: onnx.TensorProto, number: int) -> None:
    names = ["Loop", "If", "Conv", "Frobnicate", "", "Add"]
    node.op_type = names[number % len(names)]


def _attributes(
    _: onnx.GraphProto, node: onnx.NodeProto, __: onnx.TensorProto, number: int
) -> None:
    for attribute in node.attribute:
        attribute.ints[:] = [number for _ in attribute.ints]
        attribute.i = number


def _circle(_: onnx.GraphProto, node: onnx.NodeProto, __: onnx.TensorProto, ___: int) -> None:
    node.input[:] = list(node.output)


def _twice(graph: onnx.GraphProto, node: onnx.NodeProto, _: onnx.TensorProto, __: int) -> None:
    graph.node.append(copy.deepcopy(node))


def _input_size(
    graph: onnx.GraphProto, _: onnx.NodeProto, __: onnx.TensorProto, number: int
) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = number


def _no_weights(graph: onnx.GraphProto, _: onnx.NodeProto, __: onnx.TensorProto, ___: int) -> None:
    del graph.initializer[:]


EDITS: tuple[Edit, ...] = (
    _dims, _type, _data, _elsewhere, _operation, _attributes, _circle, _twice, _input_size,
    _no_weights,
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31 - 1, 2**40, 2**62, -(2**62), 3, 7)


@st.composite
def other_onnx(draw: st.DrawFn, sample: bytes) -> bytes:
    """A model whose fields say what is not so: sizes, types, names, attributes, wires."""
    model = onnx.ModelProto.FromString(sample)
    graph = model.graph
    for _ in range(draw(st.integers(1, 3))):
        if not graph.initializer:
            break
        node = draw(st.sampled_from(list(graph.node)))
        tensor = draw(st.sampled_from(list(graph.initializer)))
        draw(st.sampled_from(EDITS))(graph, node, tensor, draw(st.sampled_from(NUMBERS)))
    if draw(st.booleans()):
        model.opset_import[0].version = draw(st.sampled_from(NUMBERS))
    return model.SerializeToString()
