"""A foreign ONNX file → a model in memory, or one sentence on why not.

Nothing but the file itself is opened: weights in a second file are refused, since a model may
name any path there. Where they are asked for, one is read that lies in the same folder, by its bare
name, and holds what the tensor declares. Nothing is allocated on the word of a declared size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from datac.errors import BadInput

LARGEST_BYTES = 2**31 - 1
"""The limit of protobuf, and so of one ONNX file."""

NEWEST_OPSET: int = onnx.defs.onnx_opset_version()

BITS: dict[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.COMPLEX64: 64,
    TensorProto.COMPLEX128: 128,
    TensorProto.BFLOAT16: 16,
    TensorProto.FLOAT8E4M3FN: 8,
    TensorProto.FLOAT8E4M3FNUZ: 8,
    TensorProto.FLOAT8E5M2: 8,
    TensorProto.FLOAT8E5M2FNUZ: 8,
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    TensorProto.FLOAT4E2M1: 4,
}
"""Element type → bits of one element in `raw_data`; those of 4 bits lie two in a byte."""

NUMBER_FIELDS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data")
TYPED_FIELDS = (*NUMBER_FIELDS, "string_data")
VALUES_OF_TWO = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def read_onnx(path: Path, *, beside: bool = False) -> onnx.ModelProto:
    """The model of a file; BadInput for anything that is not one whole, sound ONNX file.

    beside: weights may lie in files beside it, as torch's exporter puts them; they are read in.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(_content(path))
    except DecodeError as error:
        raise BadInput(f"{path} is not an ONNX file, or a damaged one") from error
    if not model.graph.node or not model.ir_version:
        raise BadInput(f"{path} is not an ONNX file: it holds no graph")
    if beside:
        _read_in(model, path)
    for tensor in _tensors_of(model):
        _check_tensor(tensor, path)
    _check_operators(model, path)
    check_wiring(model.graph, str(path))
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BadInput(f"{path} is not sound ONNX: {_one_line(error)}") from error
    return model


def _content(path: Path) -> bytes:
    """The bytes of a regular file; a device or a pipe would never end."""
    try:
        if not path.exists():
            raise BadInput(f"{path}: there is no such file")
        if not path.is_file():
            raise BadInput(f"{path} is not a regular file")
        with path.open("rb") as file:
            size = path.stat().st_size
            content = file.read(size) if size <= LARGEST_BYTES else b""
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error
    if size > LARGEST_BYTES:
        raise BadInput(f"{path} is larger than 2 GB, the limit of one ONNX file")
    return content


def _read_in(model: onnx.ModelProto, path: Path) -> None:
    """Give every tensor that lies in a file beside `path` its bytes: as many as it declares."""
    contents: dict[str, bytes] = {}
    total = 0
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        name = where.get("location", "")
        if name not in contents:
            contents[name] = _beside(path, name, tensor.name)
        begin, end = _range(where, tensor, len(contents[name]), path)
        total += end - begin
        if max(total, sum(map(len, contents.values()))) > LARGEST_BYTES:
            raise BadInput(f"{path}: its weights are larger than 2 GB")
        tensor.raw_data = contents[name][begin:end]
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _range(where: dict[str, str], tensor: TensorProto, size: int, path: Path) -> tuple[int, int]:
    """Where a tensor lies in its file of `size` bytes; before a byte is copied."""
    try:
        begin = int(where.get("offset", "0"))
        end = begin + int(where.get("length", str(size - begin)))
    except ValueError as error:
        raise BadInput(f"{path}: tensor {tensor.name} lies at no number of bytes") from error
    if not 0 <= begin <= end <= size:
        raise BadInput(f"{path}: tensor {tensor.name} lies beyond the end of its file")
    wanted = (math.prod(tensor.dims) * BITS.get(tensor.data_type, 8) + 7) // 8
    if end - begin != wanted:
        raise BadInput(
            f"{path}: tensor {tensor.name} declares {wanted} bytes, but its file holds "
            f"{end - begin} for it"
        )
    return begin, end


def _beside(path: Path, name: str, tensor: str) -> bytes:
    """The content of a file in the same folder; a name that leads elsewhere is refused."""
    plain = name and Path(name).name == name and name not in (".", "..") and len(name) < 256
    if not plain or (path.parent / name).is_symlink():
        raise BadInput(
            f"{path}: tensor {tensor} lies in {json.dumps(name[:80])}, which is not a file beside "
            "the model, and is not opened; save the model with its weights in one file"
        )
    return _content(path.parent / name)


# ---- tensors ---------------------------------------------------------------------------------


def _tensors_of(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor, nested graphs and functions included. Protobuf bounds the nesting."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)
    for training in model.training_info:
        yield from _tensors_of_graph(training.initialization)
        yield from _tensors_of_graph(training.algorithm)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: list[onnx.NodeProto]) -> Iterator[TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from attribute.tensors
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)
        if attribute.HasField("g"):
            yield from _tensors_of_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _tensors_of_graph(graph)


def _check_tensor(tensor: TensorProto, path: Path) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise BadInput(
            f"{path}: tensor {tensor.name} lies in another file, which is never opened; save the "
            "model with its weights in one file"
        )
    if any(size < 0 for size in tensor.dims):
        raise BadInput(f"{path}: tensor {tensor.name} declares a negative size")
    elements = math.prod(tensor.dims)
    shape = "x".join(map(str, tensor.dims)) or "one element"
    if tensor.HasField("raw_data"):
        if tensor.data_type not in BITS:
            raise BadInput(f"{path}: tensor {tensor.name} has the unknown type {tensor.data_type}")
        wanted = (elements * BITS[tensor.data_type] + 7) // 8
        if len(tensor.raw_data) != wanted:
            raise BadInput(
                f"{path}: tensor {tensor.name} declares {shape}, {wanted} bytes, but holds "
                f"{len(tensor.raw_data)}"
            )
        return
    held = sum(len(getattr(tensor, field)) for field in TYPED_FIELDS)
    wanted = elements * (2 if tensor.data_type in VALUES_OF_TWO else 1)
    if BITS.get(tensor.data_type) == 4:
        wanted = (elements + 1) // 2
    if held != wanted:
        raise BadInput(f"{path}: tensor {tensor.name} declares {shape}, but holds {held} values")


# ---- operators and wiring --------------------------------------------------------------------


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    version = opsets.get("ai.onnx", 0)
    if not 1 <= version <= NEWEST_OPSET:
        raise BadInput(
            f"{path} is of opset {version}; the onnx package here knows 1 to {NEWEST_OPSET}"
        )
    for node in model.graph.node:
        if (node.domain or "ai.onnx") not in opsets:
            raise BadInput(
                f"{path}: node {node.name or node.op_type} is of the domain {node.domain}, which "
                "the file does not import"
            )


def check_wiring(graph: onnx.GraphProto, path: str) -> None:
    """BadInput unless every value that is read was made before: no gaps, no circles."""
    known = {"", *(value.name for value in graph.input), *(t.name for t in graph.initializer)}
    known |= {sparse.values.name for sparse in graph.sparse_initializer}
    made = {name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            if name in known:
                continue
            label = node.name or node.op_type
            if name not in made:
                raise BadInput(f"{path}: node {label} reads {name}, which nothing makes")
            raise BadInput(
                f"{path}: node {label} reads {name} before it is made: the nodes form a circle "
                "or stand in a wrong order"
            )
        known.update(node.output)
    for value in graph.output:
        if value.name not in known:
            raise BadInput(f"{path}: nothing makes the output {value.name}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
