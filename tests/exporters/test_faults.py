"""Every fault: what its ONNX computes is what it says it computes, and it is seen where it is."""

import numpy as np
import onnxruntime
import pytest

from compiler.interpreter import Interpreter
from compiler.lower import lower
from compiler.verify import verify
from datac.published import load
from exporters.canonical import canonical_graph
from exporters.faults import FAULTS, inject
from exporters.initialise import initialise
from exporters.onnx_writer import write_onnx


@pytest.fixture(scope="module")
def nets(networks):
    """(graph with weights, input, values) of a published cell in each kind of network."""
    made = []
    cells = (
        ("data-m7", networks.segmentation),
        ("darts-v2", networks.classification),
        ("nasnet-a", networks.classification),
    )
    for cell, network in cells:
        # Six channels: two of a stride-2 skip's halves may be exchanged.
        wider = network.model_copy(update={"channels": 6})
        graph = lower(load(cell), wider)
        initialise(graph, wider.input, 0)
        x = np.random.default_rng(0).standard_normal((2, *wider.input)).astype(np.float32)
        names = [node.name for node in graph.nodes()]
        made.append((graph, x, Interpreter(graph).run({"input": x}, wanted=names)))
    return made


def onnx_answer(graph, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        write_onnx(graph, {}).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(["logits"], {"input": x})[0]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_graph_in_numpy_and_in_onnx(name, nets):
    found = 0
    for graph, x, values in nets:
        before = {key: value.copy() for key, value in graph.weights.items()}
        damaged = inject(FAULTS[name], graph, values, np.random.default_rng(1))
        assert all(np.array_equal(before[key], value) for key, value in graph.weights.items())
        if damaged is None:
            continue
        found += 1
        verify(damaged.graph)
        folded = canonical_graph(damaged.graph)
        expected = Interpreter(damaged.graph).run({"input": x})["logits"]
        size = np.sqrt(np.mean(np.square(expected)))
        np.testing.assert_allclose(onnx_answer(folded, x) / size, expected / size, atol=1e-4)
    assert found, "no node of either net takes this fault"
