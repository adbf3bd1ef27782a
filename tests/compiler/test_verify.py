"""Each invariant of a graph, broken on purpose, is named together with the node that breaks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.lower import lower
from compiler.ops import BatchNorm, Conv, Input, Relu, Sum, TensorType
from compiler.verify import verify
from datac.documents.network import Network
from datac.published import load


@pytest.fixture
def graph() -> Graph:
    """A small one, with weights."""
    made = Graph()
    x = made.add("x", Input(("N", 4, 8, 8)))
    conv = made.add("conv", Conv(4, 4), x)
    norm = made.add("norm", BatchNorm(4), conv)
    made.set_output("y", made.add("sum", Sum(), norm, x))
    made.weights = {
        name: np.ones(spec.shape, spec.dtype) for name, spec in made.weight_specs().items()
    }
    return made


@contextmanager
def refused(sentence: str, graph: Graph) -> Iterator[None]:
    """Whole before the block, refused with `sentence` after it."""
    verify(graph)
    yield
    with pytest.raises(ValueError, match=sentence):
        verify(graph)


def test_a_lowered_network_holds_every_invariant(tiny: Callable[..., Network]) -> None:
    for skeleton in ("cifar", "imagenet", "segmentation"):
        for training in (True, False):
            verify(lower(load("nasnet-a"), tiny(skeleton), training=training))


def test_a_wrong_type(graph: Graph) -> None:
    """No edit can do that, so the test reaches behind them."""
    with refused(r"norm has type float32\(N, 4, 8, 7\), its operation infers", graph):
        graph._net.nodes["norm"]["type"] = TensorType(("N", 4, 8, 7))
        graph._net.nodes["norm"].pop("read", None)


def test_an_operation_that_does_not_take_its_operands(graph: Graph) -> None:
    with refused("conv: conv takes 5 channels, not 4", graph):
        graph._net.nodes["conv"]["op"] = Conv(5, 4)
        graph._net.nodes["conv"].pop("read", None)


def test_an_empty_slot(graph: Graph) -> None:
    with refused(r"sum has operands in the slots \(0, 2\)", graph):
        graph._net.remove_edge("x", "sum", key=1)
        graph._net.add_edge("x", "sum", key=2)


def test_a_missing_operand(graph: Graph) -> None:
    with refused("conv: ", graph):
        graph._net.remove_edge("x", "conv", key=0)
        graph._net.nodes["conv"].pop("read", None)


def test_a_circle(graph: Graph) -> None:
    """`replace_uses` makes one where the new value is two steps behind the old."""
    with refused("reads its own result", graph):
        one = graph.add("one", Relu(), "conv")
        graph.replace_uses("conv", graph.add("two", Relu(), one))


def test_no_output(graph: Graph) -> None:
    with refused("the graph has no output", graph):
        graph.outputs.clear()


def test_an_output_that_does_not_exist(graph: Graph) -> None:
    with refused("output z reads nowhere, which does not exist", graph):
        graph.outputs["z"] = "nowhere"


def test_a_node_that_nobody_reads(graph: Graph) -> None:
    with refused("aside reaches no output", graph):
        graph.add("aside", Relu(), "norm")


def test_a_missing_weight(graph: Graph) -> None:
    with refused("the graph has no weight norm.bias", graph):
        del graph.weights["norm.bias"]


def test_a_weight_without_a_node(graph: Graph) -> None:
    with refused("the graph has a weight without a node: norm.gain", graph):
        graph.weights["norm.gain"] = np.ones(4)


def test_a_weight_of_another_shape(graph: Graph) -> None:
    with refused(r"norm.bias is float64\(5,\), not float32\(4,\)", graph):
        graph.weights["norm.bias"] = np.ones(5)


def test_a_weight_of_another_kind(graph: Graph) -> None:
    with refused(r"norm.bias is int64\(4,\), not float32\(4,\)", graph):
        graph.weights["norm.bias"] = np.ones(4, np.int64)


def test_weights_may_be_as_precise_as_a_proof_needs(graph: Graph) -> None:
    graph.weights["norm.bias"] = np.ones(4, np.float64)
    verify(graph)


def test_weights_may_all_be_left_out(graph: Graph) -> None:
    graph.weights = {}
    verify(graph)
