"""The canonical ONNX: one file for every size, with names that say where each node comes from."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from compiler.graph import Graph
from compiler.lower import lower, used_paths
from compiler.ops import Conv, Input
from compiler.passes import CANONICAL
from compiler.rewrite import apply
from compiler.skeletons import SKELETONS
from compiler.torch_module import GraphModule, bind
from datac.documents.network import DEFAULTS, Network
from datac.errors import BadInput
from datac.published import load
from exporters import onnx_writer
from exporters.onnx_writer import OPSET, write_onnx

SIZES = ((32, 32), (96, 128), (91, 133), (33, 47), (5, 3))
"""(height, width); the third and fourth are odd, the last is smaller than the stem's strides."""

TINY: dict[str, dict[str, Any]] = {
    "cifar": {"channels": 6, "cells": 5, "input": (3, 32, 32)},
    "imagenet": {"channels": 6, "cells": 5, "classes": 7, "input": (3, 64, 64)},
    "segmentation": {
        "channels": 6,
        "cells": 5,
        "classes": 7,
        "input": (3, 64, 48),
        "head_channels": 8,
    },
}
CELLS = ("data-m7", "nasnet-a", "amoebanet-a")
CASES = [*itertools.product(TINY, CELLS)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(skeleton: str) -> Network:
    return Network.model_validate({**dict(DEFAULTS[skeleton]), **TINY[skeleton]})


def made(skeleton: str, name: str) -> tuple[GraphModule, Graph]:
    """The module with running statistics of its own, and its folded graph."""
    graph = lower(load(name), network(skeleton))
    torch.manual_seed(0)
    module = GraphModule(graph).train()
    with torch.no_grad():
        module(torch.randn(4, 3, 48, 64))
    bind(graph, module.eval())
    folded, _ = apply(graph, CANONICAL)
    return module, folded


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(("skeleton", "name"), CASES)
def test_one_file_serves_every_batch_height_and_width(skeleton: str, name: str) -> None:
    module, folded = made(skeleton, name)
    running = session(write_onnx(folded, {}))
    for batch, size in zip((1, 2, 3, 1, 2), SIZES, strict=True):
        x = torch.randn(batch, 3, *size)
        with torch.inference_mode():
            expected = module(x).numpy()
        (found,) = running.run(None, {"input": x.numpy()})
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-5


@pytest.mark.parametrize(("skeleton", "name"), CASES)
def test_every_path_of_the_genotype_is_in_the_names_and_no_other(skeleton: str, name: str) -> None:
    _, folded = made(skeleton, name)
    names = [node.name for node in write_onnx(folded, {}).graph.node]
    plans = SKELETONS[skeleton].plan(network(skeleton))
    expected = {str(origin) for origin in used_paths(load(name), plans)}
    found = {"/".join(name.split("/")[:4]) for name in names if "/path" in name}
    assert found == expected
    assert any(name.startswith("cell0/node2/path0/") for name in names)


@pytest.mark.parametrize("skeleton", TINY)
def test_names_are_unique_and_a_nodes_result_bears_its_name(skeleton: str) -> None:
    _, folded = made(skeleton, "data-m7")
    body = write_onnx(folded, {}).graph
    names = [node.name for node in body.node]
    assert len({*names}) == len(names)
    assert [node.output[0] for node in body.node] == names
    assert {*names}.isdisjoint({tensor.name for tensor in body.initializer})


def test_a_folded_tensor_keeps_the_name_of_its_convolution() -> None:
    module, folded = made("cifar", "data-m7")
    tensors = {tensor.name for tensor in write_onnx(folded, {}).graph.initializer}
    weights = {name for name in tensors if name.endswith((".weight", ".bias"))}
    learned = {name for name, tensor in module.named_parameters() if tensor.dim() > 1}
    assert {name for name in weights if name.endswith("weight")} == learned
    assert "cell0.node2.path1.pointwise0.bias" in weights
    assert not [name for name in tensors if "norm" in name]


def test_every_tensor_that_is_written_is_read() -> None:
    _, folded = made("segmentation", "data-m7")
    body = write_onnx(folded, {}).graph
    read = {name for node in body.node for name in node.input}
    assert {tensor.name for tensor in body.initializer} <= read


@pytest.mark.parametrize("skeleton", TINY)
def test_it_passes_the_checker_in_full(skeleton: str) -> None:
    _, folded = made(skeleton, "data-m7")
    model = write_onnx(folded, {})
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert {node.domain for node in model.graph.node} == {""}


@pytest.mark.parametrize(
    ("skeleton", "output"), [("cifar", ["N", 10]), ("segmentation", ["N", 7, "H", "W"])]
)
def test_batch_height_and_width_are_open_and_named(skeleton: str, output: list[Any]) -> None:
    _, folded = made(skeleton, "data-m4")
    body = write_onnx(folded, {}).graph
    assert [dims(value) for value in body.input] == [["N", 3, "H", "W"]]
    assert [value.name for value in body.input] == ["input"]
    assert [dims(value) for value in body.output] == [output]
    assert [value.name for value in body.output] == ["logits"]


def dims(value: onnx.ValueInfoProto) -> list[Any]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_metadata_travels_with_the_model() -> None:
    _, folded = made("cifar", "data-m4")
    metadata = {"datac.hash": load("data-m4").hash, "classes": "Straße, ☃"}
    model = onnx.load_from_string(write_onnx(folded, metadata).SerializeToString())
    assert {entry.key: entry.value for entry in model.metadata_props} == metadata
    assert model.producer_name == "datac"


def test_writing_twice_gives_the_same_bytes() -> None:
    _, folded = made("cifar", "data-m7")
    first, second = (write_onnx(folded, {"a": "b"}).SerializeToString() for _ in range(2))
    assert first == second


def test_a_graph_that_was_not_folded_can_be_written_too() -> None:
    graph = lower(load("data-m7"), network("cifar"))
    torch.manual_seed(0)
    module = GraphModule(graph).eval()
    bind(graph, module)
    x = torch.randn(2, 3, 17, 20)
    (found,) = session(write_onnx(graph, {})).run(None, {"input": x.numpy()})
    with torch.inference_mode():
        expected = module(x).numpy()
    assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-5


def test_a_model_that_one_file_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_writer, "PROTOBUF_LIMIT", 1000)
    graph = Graph()
    graph.set_output("y", graph.add("conv", Conv(3, 100), graph.add("x", Input(("N", 3, 4, 4)))))
    graph.weights = {"conv.weight": np.zeros((100, 3, 1, 1), np.float32)}
    with pytest.raises(BadInput, match="larger than 2 GB"):
        write_onnx(graph, {})
