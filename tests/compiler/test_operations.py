"""The contract of a primitive operation, for every line of the table of operations.

An operation's type, its torch form, its line in model.py, its ONNX and its cost are five
statements about one thing; here they are held against each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from compiler.graph import Graph
from compiler.interpreter import Interpreter
from compiler.ops import (
    OPERATIONS,
    ArgMax,
    AvgPool,
    BatchNorm,
    Cast,
    ChannelSlice,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    Identity,
    Input,
    Linear,
    MaxPool,
    Op,
    PadEnd,
    Prepare,
    Quantize,
    QuantizedConv,
    Relu,
    ResizeLike,
    Scale,
    Shift,
    Sum,
    TensorType,
)
from compiler.text import parse_graph, print_graph
from compiler.torch_module import GraphModule, bind
from compiler.torch_source import print_classes
from exporters.onnx_writer import write_onnx

SIZES = ((8, 8), (7, 5), (1, 1))
BATCH = 2
TRAINING_ONLY = ("dropout", "drop_path")


@dataclass(frozen=True)
class Example:
    """An operation, and the channels of each of its operands; (N, C) where it is not spatial."""

    op: Op
    channels: tuple[int, ...] = (4,)
    spatial: bool = True
    sizes: tuple[tuple[int, int], ...] = SIZES


EXAMPLES: dict[str, list[Example]] = {
    "input": [Example(Input(("N", 4, 8, 8)), ())],
    "conv": [
        Example(Conv(4, 6)),
        Example(Conv(4, 6, (1, 1), (2, 2), bias=True)),
        Example(Conv(4, 4, (3, 3), (2, 2), (2, 2), (2, 2), groups=4)),
        Example(Conv(4, 6, (1, 7), (1, 2), (0, 3))),
        Example(Conv(4, 6, (7, 1), (2, 1), (3, 0), (1, 1), groups=2, bias=True)),
    ],
    "linear": [Example(Linear(4, 7), spatial=False)],
    "batch_norm": [Example(BatchNorm(4)), Example(BatchNorm(4, epsilon=1e-3))],
    "max_pool": [Example(MaxPool()), Example(MaxPool(3, 2, 1))],
    "avg_pool": [
        Example(AvgPool()),
        Example(AvgPool(3, 2, 1)),
        Example(AvgPool(5, 3, 0), sizes=((8, 8), (9, 7))),
    ],
    "global_avg_pool": [Example(GlobalAvgPool())],
    "relu": [Example(Relu())],
    "identity": [Example(Identity())],
    "sum": [Example(Sum(), (4,)), Example(Sum(), (4, 4)), Example(Sum(), (4, 4, 4))],
    "scale": [Example(Scale(1 / 3))],
    "dropout": [Example(Dropout(0.3))],
    "drop_path": [Example(DropPath())],
    "concat": [Example(Concat(), (4,)), Example(Concat(), (4, 1, 3))],
    "channel_slice": [
        Example(ChannelSlice(0, 4)),
        Example(ChannelSlice(2, 5), (7,)),
        Example(ChannelSlice(1, 6, 2), (7,)),
    ],
    "shift": [Example(Shift())],
    "pad_end": [Example(PadEnd())],
    "resize_like": [Example(ResizeLike(), (4, 2))],
    "flatten": [Example(Flatten(), sizes=((1, 1),))],
    "cast": [Example(Cast("float32"))],
    "prepare": [
        Example(Prepare((0.5,) * 8, tuple(1.0 + i for i in range(8))), sizes=((8, 8),)),
        Example(Prepare((1.0, 2.0, 3.0), (0.1, 0.2, 0.3), reverse=True), sizes=((7, 3),)),
    ],
    "arg_max": [Example(ArgMax()), Example(ArgMax(), spatial=False)],
    "quantize": [
        Example(Quantize(0.05, 128)),
        Example(Quantize(0.01, 0, "uint8")),
        Example(Quantize(0.02, 0, "int8")),
    ],
    "quantized_conv": [
        Example(QuantizedConv(4, 6)),
        Example(QuantizedConv(4, 4, (3, 3), (2, 2), (2, 2), (2, 2), groups=4, bias=True)),
        Example(QuantizedConv(4, 6, bias=True, bias_type="float32")),
    ],
}


def cases(without: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(example, id=f"{name}-{index}")
        for name, examples in EXAMPLES.items()
        for index, example in enumerate(examples)
        if name not in without
    ]


RAN = cases(without=("input",))
SOURCED = cases(without=("input", "prepare", "arg_max", "quantize", "quantized_conv"))
"""`model.py` holds what was trained, and not what engines have besides."""
EXPORTED = cases(without=("input", *TRAINING_ONLY))


def graphs(example: Example) -> list[Graph]:
    """The example at each of its sizes, between inputs `x0`, ... and the output `y`."""
    return [_graph(example, size) for size in (example.sizes if example.spatial else ((1, 1),))]


def _graph(example: Example, size: tuple[int, int]) -> Graph:
    graph = Graph()
    operands = []
    for index, channels in enumerate(example.channels):
        # What is resized is smaller than what it is resized like.
        small = isinstance(example.op, ResizeLike) and index == 0
        height, width = ((edge + 1) // 2 for edge in size) if small else size
        shape = ("N", channels, height, width) if example.spatial else ("N", channels)
        operands.append(graph.add(f"x{index}", Input(shape)))
    graph.set_output("y", graph.add("layer/op", example.op, *operands))
    return graph


def tensors(graph: Graph) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(BATCH, *map(int, node.type.shape[1:])) for node in graph.inputs]


def module_of(graph: Graph) -> GraphModule:
    """In inference mode, with statistics that are not those of a fresh batch norm."""
    torch.manual_seed(1)
    module = GraphModule(graph).eval()
    for name, tensor in module.state_dict().items():
        if tensor.dtype == torch.float32:
            tensor.copy_(torch.rand_like(tensor) + 0.5 if name.endswith("var") else tensor + 0.1)
        elif tensor.dtype in (torch.int8, torch.int32):
            tensor.copy_(torch.randint(-127, 128, tensor.shape))
    return module


def answer(module: Callable[..., Any], graph: Graph) -> Tensor:
    with torch.inference_mode():
        result = module(*tensors(graph))
    assert isinstance(result, Tensor)
    return result


def test_every_operation_has_an_example() -> None:
    assert EXAMPLES.keys() == OPERATIONS.keys()
    for name, examples in EXAMPLES.items():
        assert {type(example.op) for example in examples} == {OPERATIONS[name]}


def test_an_input_is_what_it_declares() -> None:
    for example in EXAMPLES["input"]:
        assert example.op.infer() == TensorType(("N", 4, 8, 8))
        with pytest.raises(ValueError, match="no operands"):
            example.op.infer(TensorType((1,)))


@pytest.mark.parametrize("operation", OPERATIONS.values())
def test_it_is_a_value(operation: type[Op]) -> None:
    assert is_dataclass(operation)
    assert operation.__dataclass_params__.frozen
    assert operation.__doc__


@pytest.mark.parametrize("example", RAN)
def test_the_inferred_type_is_torchs(example: Example) -> None:
    for graph in graphs(example):
        result = answer(module_of(graph), graph)
        inferred = graph["layer/op"].type
        assert ("N", *result.shape[1:]) == inferred.shape
        assert str(result.dtype) == f"torch.{inferred.dtype}"


@pytest.mark.parametrize("example", RAN)
def test_its_weights_are_torchs(example: Example) -> None:
    """Names and order, shapes, kinds, and which of them are trained."""
    graph = graphs(example)[0]
    module = module_of(graph)
    trained = dict(module.named_parameters())
    found = {
        name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), name in trained)
        for name, tensor in module.state_dict().items()
    }
    stated = {
        name: (spec.shape, spec.dtype, spec.trainable)
        for name, spec in graph.weight_specs().items()
    }
    assert [*stated.items()] == [*found.items()]


@pytest.mark.parametrize("example", RAN)
def test_its_cost_is_what_torch_counts(example: Example) -> None:
    for graph in graphs(example):
        module = module_of(graph)
        cost = graph.cost()
        assert cost.parameters == sum(parameter.numel() for parameter in module.parameters())
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            module(*(x[:1] for x in tensors(graph)))
        # Torch counts a multiply-add as two operations.
        assert 2 * cost.multiply_adds == counter.get_total_flops()


@pytest.mark.parametrize("example", SOURCED)
def test_its_line_in_model_py_is_the_module(example: Example) -> None:
    for graph in graphs(example):
        module = module_of(graph)
        space: dict[str, Any] = {"torch": torch, "nn": nn, "F": nn.functional}
        exec(print_classes(graph, {}), space)  # our own text
        written: nn.Module = space["Network"]().eval()
        written.load_state_dict(module.state_dict(), strict=True)
        assert torch.equal(answer(written, graph), answer(module, graph))


@pytest.mark.parametrize("example", RAN)
def test_numpy_computes_what_torch_computes(example: Example) -> None:
    for graph in graphs(example):
        module = module_of(graph).double()
        bind(graph, module)
        with torch.inference_mode():
            expected = module(*(x.double() for x in tensors(graph))).numpy()
        feed = {node.name: x.numpy() for node, x in zip(graph.inputs, tensors(graph), strict=True)}
        found = Interpreter(graph).run(feed)["y"]
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("example", EXPORTED)
def test_its_onnx_computes_what_torch_computes(example: Example) -> None:
    for graph in graphs(example):
        module = module_of(graph)
        bind(graph, module)
        expected = answer(module, graph).numpy()
        feed = {node.name: x.numpy() for node, x in zip(graph.inputs, tensors(graph), strict=True)}
        np.testing.assert_allclose(onnx_answer(graph, feed), expected, rtol=1e-5, atol=1e-6)


def onnx_answer(graph: Graph, feed: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # a stride-2 result is not `H` high, which the runtime remarks
    options.intra_op_num_threads = 1
    model = write_onnx(graph, {}).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


@pytest.mark.parametrize("example", RAN)
def test_its_text_parses(example: Example) -> None:
    for graph in graphs(example):
        assert parse_graph(print_graph(graph))["layer/op"] == graph["layer/op"]


@pytest.mark.parametrize("name", TRAINING_ONLY)
def test_what_acts_while_training_is_nothing_afterwards_and_is_not_exported(name: str) -> None:
    for example in EXAMPLES[name]:
        graph = graphs(example)[0]
        assert torch.equal(answer(module_of(graph), graph), tensors(graph)[0])
        with pytest.raises(ValueError, match="not exported"):
            write_onnx(graph, {})


def test_an_affine_free_batch_norm_is_not_exported() -> None:
    graph = graphs(Example(BatchNorm(4, affine=False)))[0]
    bind(graph, module_of(graph))
    with pytest.raises(ValueError, match="belongs to the search"):
        write_onnx(graph, {})


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        (Conv(4, 8), [TensorType(("N", 3, 8, 8))]),
        (Conv(4, 8), [TensorType(("N", 4))]),
        (Conv(4, 8, (3, 3)), [TensorType(("N", 4, 2, 2))]),
        (Conv(4, 8), [TensorType(("N", 4, "H", "W"))]),
        (Linear(4, 8), [TensorType(("N", 3))]),
        (Linear(4, 8), [TensorType(("N", 4, 1, 1))]),
        (BatchNorm(4), [TensorType(("N", 3, 8, 8))]),
        (AvgPool(5, 2, 0), [TensorType(("N", 4, 4, 8))]),
        (GlobalAvgPool(), [TensorType(("N", 4))]),
        (Sum(), []),
        (Sum(), [TensorType(("N", 4, 8, 8)), TensorType(("N", 4, 8, 7))]),
        (Concat(), [TensorType(("N", 4, 8, 8)), TensorType(("N", 4, 8, 7))]),
        (Concat(), []),
        (Shift(), [TensorType(("N", 4))]),
        (PadEnd(), [TensorType(("N", 4))]),
        (PadEnd(), [TensorType(("N", 4, "H", "W"))]),
        (ResizeLike(), [TensorType(("N", 4, 8, 8)), TensorType(("N", 4))]),
        (Flatten(), [TensorType(("N", 4, 2, 1))]),
        (Relu(), []),
        (Prepare((1.0,), (1.0,)), [TensorType(("N", 8, 8, 3))]),
        (Quantize(0.1, 256), [TensorType(("N", 4))]),
        (Quantize(0.0, 0), [TensorType(("N", 4))]),
        (Quantize(0.1, -1, "uint8"), [TensorType(("N", 4))]),
        (Quantize(0.1, 0, "int4"), [TensorType(("N", 4))]),
    ],
)
def test_operands_that_do_not_fit_are_refused(op: Op, operands: list[TensorType]) -> None:
    with pytest.raises(ValueError, match=r"."):
        op.infer(*operands)


def test_a_path_is_dropped_for_whole_samples_and_the_others_are_scaled_up() -> None:
    graph = graphs(Example(DropPath()))[0]
    module = GraphModule(graph).train()
    drop = module.get_submodule("layer.op")
    x = torch.ones(64, 4, 2, 2)
    assert torch.equal(module(x), x), "without a rate nothing is dropped"
    drop.rate = 0.5  # type: ignore[assignment]
    torch.manual_seed(0)
    samples = module(x).flatten(1)
    assert torch.equal(samples, samples[:, :1].expand_as(samples))
    assert {*samples[:, 0].tolist()} == {0.0, 2.0}
    assert torch.equal(x, torch.ones(64, 4, 2, 2)), "the operand has other readers"
