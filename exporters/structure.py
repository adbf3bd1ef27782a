"""The judge of structure: whether an ONNX is the one that genotype and weights make.

Two opinions, each with its own blind side:

* `compare` lays the model over one that is emitted again from genotype and weights: it sees every
  weight, attribute and wire, and shares the emitter's mistakes;
* `exporters.path_reader` reads the topology against the genotype: it shares only the cell plan
  (strides, dilations, widths) with the emitter, and sees no weight values.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.report import StructureResult
from exporters.graph_differences import GraphDifferences
from exporters.onnx_view import OnnxView
from exporters.path_reader import read_paths
from exporters.weight_differences import weight_differences

MOST_SENTENCES = 20


def judge_structure(
    model: onnx.ModelProto, expected: onnx.ModelProto, genotype: Genotype, network: Network
) -> StructureResult:
    """Both opinions on a model. `expected`: emitted again from genotype, network and weights.

    Raises BadInput where the model's nodes form a circle.
    """
    reading = read_paths(model, genotype, network)
    compared = compare(model, expected)
    differences = (*shorten(reading.differences), *compared)
    return StructureResult(
        verdict="fail" if differences else "pass",
        paths_found=reading.found,
        paths_expected=reading.expected,
        differences=differences,
    )


def compare(model: onnx.ModelProto, expected: onnx.ModelProto) -> list[str]:
    """A sentence for each difference from the model that was emitted again, place first.

    At most `MOST_SENTENCES`, in the order of the network, and how many more there are.
    """
    graph = GraphDifferences(OnnxView(model), OnnxView(expected))
    sentences = [*_frame(model, expected), *graph.renamed()]
    placed = [*graph.differences(), *weight_differences(graph)]
    sentences += [sentence for _, sentence in sorted(placed, key=lambda pair: pair[0])]
    return shorten(dict.fromkeys(sentences))


def shorten(sentences: Iterable[str]) -> list[str]:
    """The first ones, and how many more."""
    every = list(sentences)
    more = len(every) - MOST_SENTENCES
    return [*every[:MOST_SENTENCES], *([f"... and {more} more"] if more > 0 else [])]


def _frame(model: onnx.ModelProto, expected: onnx.ModelProto) -> list[str]:
    """Opset, inputs and outputs, metadata, and what a canonical model never holds."""
    found = []
    for what, held, wanted in (
        ("opset", _opset(model), _opset(expected)),
        ("inputs", _values(model.graph.input), _values(expected.graph.input)),
        ("outputs", _values(model.graph.output), _values(expected.graph.output)),
    ):
        if held != wanted:
            found.append(f"model: {what} {held} where {wanted} is expected")
    held_by_key, wanted_by_key = _metadata(model), _metadata(expected)
    for key, value in wanted_by_key.items():
        if held_by_key.get(key) != value:
            found.append(_metadata_sentence(key, held_by_key.get(key), value))
    if model.functions or model.graph.sparse_initializer:
        found.append("model: holds functions or sparse tensors, which datac never writes")
    return found


def _metadata_sentence(key: str, held: str | None, wanted: str) -> str:
    if held is None:
        return f"model: the metadata {key} is missing"
    if max(len(held), len(wanted)) > 64:
        return f"model: the metadata {key} is not that of genotype and network"
    return f"model: the metadata {key} is {held} where {wanted} is expected"


def _opset(model: onnx.ModelProto) -> str:
    return ", ".join(sorted(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import))


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {p.key: p.value for p in model.metadata_props if p.key.startswith("datac.")}


def _values(values: Iterable[onnx.ValueInfoProto]) -> str:
    """`logits float32 (N, 10)`, comma between."""
    return ", ".join(_value(value) for value in values)


def _value(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    shape = ", ".join(d.dim_param or str(d.dim_value) for d in tensor.shape.dim)
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return f"{value.name} {kind} ({shape})"
