"""The trainable module: names, strict loading, memory, and several outputs."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from compiler.graph import Graph, Weights
from compiler.lower import lower
from compiler.ops import Input, Relu, Sum
from compiler.torch_module import GraphModule, bind, load_weights, read_weights
from datac.documents.network import Network
from datac.errors import BadInput
from datac.published import load


@pytest.fixture
def graph(tiny: Callable[..., Network]) -> Graph:
    return lower(load("data-m7"), tiny("cifar"))


@pytest.fixture
def weights(graph: Graph) -> Weights:
    torch.manual_seed(0)
    return read_weights(GraphModule(graph))


def test_weights_have_the_names_of_the_graph(graph: Graph, weights: Weights) -> None:
    specs = graph.weight_specs()
    assert {*weights} == {*specs}
    assert all(weights[name].shape == spec.shape for name, spec in specs.items())


def test_weights_survive_the_way_out_and_in(graph: Graph, weights: Weights) -> None:
    module = GraphModule(graph).eval()
    x = torch.randn(2, 3, 9, 7)
    before = module(x)
    load_weights(module, weights, "weights.safetensors")
    assert not torch.equal(module(x), before)
    found = read_weights(module)
    assert all(np.array_equal(found[name], weight) for name, weight in weights.items())


def test_weights_that_were_read_do_not_change_with_the_module(graph: Graph) -> None:
    module = GraphModule(graph)
    kept = read_weights(module)
    before = copy.deepcopy(kept)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert all(np.array_equal(kept[name], before[name]) for name in kept)


def test_a_missing_tensor_is_named(graph: Graph, weights: Weights) -> None:
    del weights["stem.conv.weight"]
    with pytest.raises(BadInput, match=r"^a\.safetensors: tensor stem\.conv\.weight is missing$"):
        load_weights(GraphModule(graph), weights, "a.safetensors")


def test_a_foreign_tensor_is_named_and_the_others_counted(graph: Graph, weights: Weights) -> None:
    weights |= {"stem.conv.bias": np.zeros(12), "tail.weight": np.zeros(1)}
    sentence = r"tensor stem\.conv\.bias is not part of this network \(1 more likewise\)$"
    with pytest.raises(BadInput, match=sentence):
        load_weights(GraphModule(graph), weights, "a.safetensors")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(
    graph: Graph, weights: Weights
) -> None:
    weights["head.linear.bias"] = np.zeros(6, np.float32)
    sentence = r"tensor head\.linear\.bias has shape \(6,\), the network needs \(5,\)$"
    with pytest.raises(BadInput, match=sentence):
        load_weights(GraphModule(graph), weights, "a.safetensors")


def test_a_refused_file_leaves_the_module_as_it_was(graph: Graph, weights: Weights) -> None:
    module = GraphModule(graph)
    before = read_weights(module)
    del weights["head.linear.bias"]
    with pytest.raises(BadInput):
        load_weights(module, weights, "a.safetensors")
    after = read_weights(module)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_graph_takes_what_it_has_nodes_for(tiny: Callable[..., Network]) -> None:
    network = tiny("segmentation")
    training = GraphModule(lower(load("data-m7"), network, training=True))
    graph = lower(load("data-m7"), network)
    bind(graph, training)
    assert {*graph.weights} == {*graph.weight_specs()}


def test_several_outputs_come_by_name_and_one_alone() -> None:
    graph = Graph()
    x = graph.add("x", Input(("N", 2)))
    y = graph.add("y", Input(("N", 2)))
    total = graph.add("sum", Sum(), x, y)
    graph.set_output("total", total)
    one, two = torch.tensor([[1.0, -4.0]]), torch.tensor([[2.0, 3.0]])
    assert torch.equal(GraphModule(graph)(one, two), one + two)
    graph.set_output("positive", graph.add("relu", Relu(), total))
    found = GraphModule(graph)(one, two)
    assert [*found] == ["total", "positive"]
    assert torch.equal(found["positive"], torch.tensor([[3.0, 0.0]]))


def test_the_gradient_reaches_every_parameter(tiny: Callable[..., Network]) -> None:
    network = tiny("cifar", input=(3, 32, 32))
    torch.manual_seed(0)
    module = GraphModule(lower(load("data-m7"), network, training=True)).train()
    outputs = module(torch.randn(4, 3, 32, 32))
    sum(output.square().sum() for output in outputs.values()).backward()
    still = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert still == []


def test_the_training_form_is_the_inference_form_after_training(
    tiny: Callable[..., Network],
) -> None:
    network = tiny("cifar", input=(3, 32, 32))
    torch.manual_seed(0)
    training = GraphModule(lower(load("data-m7"), network, training=True))
    training(torch.randn(4, 3, 32, 32))  # running statistics that are not those of a fresh net
    training.eval()
    graph = lower(load("data-m7"), network)
    bind(graph, training)
    child = GraphModule(graph).eval()
    load_weights(child, graph.weights, "weights")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(child(x), training(x)["logits"])
