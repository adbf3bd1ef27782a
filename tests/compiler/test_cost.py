"""What a graph costs: against published counts, torch, ONNX Runtime's own sizes, and a real run."""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from compiler.cost import by_part, graph_cost, tensor_bytes
from compiler.graph import Graph
from compiler.interpreter import Interpreter
from compiler.lower import INPUT, lower
from compiler.ops import Conv, Input, Relu, Sum, TensorType
from compiler.passes import CANONICAL
from compiler.precision import typed
from compiler.proof import randomise
from compiler.rewrite import apply
from compiler.torch_module import GraphModule
from datac.documents.network import DEFAULTS
from datac.published import NAMES, load
from exporters.onnx_writer import write_onnx

TINY = {"channels": 4, "cells": 3, "classes": 3}


def net(name: str, skeleton: str = "cifar", size: tuple[int, int] = (16, 12)) -> Graph:
    sizes = TINY | {"input": (3, *size)}
    if skeleton == "segmentation":
        sizes["head_channels"] = 4
    graph = lower(load(name), DEFAULTS[skeleton].model_copy(update=sizes))
    randomise(graph)
    return graph


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_is_the_sum_of_its_nodes_and_what_the_graph_counts(name: str) -> None:
    graph = lower(load(name), DEFAULTS["cifar"])
    cost = graph_cost(graph)
    assert cost.parameters == graph.cost().parameters
    assert cost.multiply_adds == graph.cost().multiply_adds
    parts = by_part(cost.nodes)
    assert {"stem", "cell0", "head"} <= parts.keys()
    assert sum(len(nodes) for nodes in parts.values()) == len(cost.nodes)


def test_multiply_adds_are_those_that_torch_counts() -> None:
    import torch

    graph = net("darts-v2")
    module = GraphModule(graph).eval()
    x = torch.zeros(2, 3, 16, 12)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(x)
    assert counter.get_total_flops() == 2 * graph_cost(graph, batch=2).multiply_adds


@settings(max_examples=10, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    skeleton=st.sampled_from(["cifar", "segmentation"]),
    batch=st.integers(1, 3),
)
def test_peak_memory_is_what_a_run_holds_at_its_fullest(
    name: str, skeleton: str, batch: int
) -> None:
    """The interpreter gives up each value behind its last reader, and does nothing else."""
    graph = net(name, skeleton)
    fullest = 0

    class Watched(dict[str, np.ndarray]):  # type: ignore[type-arg]
        def __setitem__(self, key: str, value: np.ndarray) -> None:  # type: ignore[type-arg]
            nonlocal fullest
            super().__setitem__(key, value)
            fullest = max(fullest, sum(4 * held.size for held in self.values()))

    run = Interpreter(graph)
    x = np.zeros((batch, 3, 16, 12))
    held = Watched()
    left: dict[str, int] = {}
    for node in graph.nodes():
        for operand in node.operands:
            left[operand] = left.get(operand, 0) + 1
    held[INPUT] = x
    for node in graph.nodes():
        if isinstance(node.op, Input):
            continue
        operands = {name: held[name] for name in node.operands}
        result = run.run(operands, wanted=[node.name], names=[node.name])[node.name]
        held[node.name] = result
        for operand in node.operands:
            left[operand] -= 1
            if not left[operand] and operand not in graph.outputs.values():
                held.pop(operand, None)
    assert graph_cost(graph, batch).peak_bytes == fullest


def test_bytes_moved_are_those_that_onnx_runtime_names_for_its_kernels() -> None:
    """With nothing fused, kernel by kernel: what it reads, its weights, what it writes."""
    graph, _ = apply(net("data-m7"), CANONICAL)
    model = write_onnx(graph, {})
    sizes = _kernel_sizes(model, np.zeros((2, 3, 16, 12), np.float32))
    cost = {graph[node.name].label: node for node in graph_cost(graph, batch=2).nodes}
    compared = 0
    for node in graph.nodes():
        if isinstance(node.op, Conv | Relu) or node.name == "cell0/concat":
            expected = cost[node.label]
            activation, parameter, written = sizes[node.label]
            assert (activation, written) == (expected.read_bytes, expected.written_bytes)
            assert parameter in (0, expected.weight_bytes)
            compared += 1
    assert compared > 30


def _kernel_sizes(
    model: onnx.ModelProto,
    x: np.ndarray,  # type: ignore[type-arg]
) -> dict[str, tuple[int, int, int]]:
    settings_ = onnxruntime.SessionOptions()
    settings_.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings_.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        settings_.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), settings_, providers=["CPUExecutionProvider"]
        )
        session.run(None, {"input": x})
        events = json.loads(Path(session.end_profiling()).read_text())
    return {
        event["name"].removesuffix("_kernel_time"): tuple(
            int(event["args"][f"{kind}_size"]) for kind in ("activation", "parameter", "output")
        )
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    }


def test_a_value_lives_from_its_maker_to_its_last_reader() -> None:
    graph = Graph()
    graph.add("x", Input(("N", 4, 2, 2)))  # 64 bytes
    graph.add("a", Conv(4, 8), "x")  # 128
    graph.add("b", Relu(), "a")  # 128: x is gone, a and b are alive
    graph.add("sum", Sum(), "b", "a")  # 128: a, b and the sum
    graph.set_output("y", "sum")
    cost = graph_cost(graph)
    assert (cost.peak_bytes, cost.peak_at) == (3 * 128, "sum")
    assert cost.weight_bytes == 4 * 8 * 4
    conv = cost.nodes[0]
    assert (conv.read_bytes, conv.written_bytes, conv.moved_bytes) == (64, 128, 64 + 128 + 128)


def test_half_the_bytes_in_half_the_width() -> None:
    graph, _ = apply(net("data-m4"), CANONICAL)
    half = graph_cost(typed(graph, "float16"))
    assert half.peak_bytes < 0.6 * graph_cost(graph).peak_bytes
    assert tensor_bytes(TensorType(("N", 3), "float16"), 5) == 30
