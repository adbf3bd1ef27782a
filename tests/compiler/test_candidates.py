"""The candidate operations: their structure in both forms, wherever a cell may put them."""

import itertools
from math import ceil

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.candidates import (
    CANDIDATES,
    NONE,
    SEARCH_SPACE,
    Form,
    Place,
    candidate_graph,
    factorized_reduce,
)
from compiler.graph import Graph
from compiler.ops import AvgPool, BatchNorm, Conv, Input, MaxPool, TensorType
from compiler.scope import Scope
from compiler.torch_module import GraphModule
from compiler.verify import verify

CHANNELS = 4
SIZES = ((8, 6), (7, 5), (1, 1), (2, 9))
FORMS: tuple[Form, ...] = ("search", "child")


def alone(name: str, place: Place, size: tuple[int, int] = (8, 6)) -> Graph:
    return candidate_graph(name, TensorType(("N", place.channels, *size)), place)


def places(form: Form) -> list[Place]:
    return [Place(CHANNELS, *numbers, form) for numbers in itertools.product((1, 2), (1, 2))]


def structure(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes() if not isinstance(node.op, Input)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CANDIDATES)
def test_the_map_shrinks_by_the_stride_rounded_up(name: str, form: Form) -> None:
    torch.manual_seed(0)
    for place, size in itertools.product(places(form), SIZES):
        graph = alone(name, place, size)
        verify(graph)
        with torch.inference_mode():
            result = GraphModule(graph).eval()(torch.randn(2, CHANNELS, *size))
        height, width = (ceil(edge / place.stride) for edge in size)
        assert result.shape == (2, CHANNELS, height, width)
        assert graph[graph.outputs["y"]].type.shape == ("N", CHANNELS, height, width)


@pytest.mark.parametrize("name", CANDIDATES)
def test_batch_norms_of_a_search_neither_scale_nor_shift_and_follow_pools(name: str) -> None:
    for place in (place for form in FORMS for place in places(form)):
        graph = alone(name, place)
        norms = [node.op for node in graph.nodes() if isinstance(node.op, BatchNorm)]
        assert all(norm.affine == (place.form == "child") for norm in norms)
        pools = [node for node in graph.nodes() if isinstance(node.op, MaxPool | AvgPool)]
        for pool in pools:
            readers = {type(graph[user].op) for user in graph.users(pool.name)}
            assert readers == ({BatchNorm} if place.form == "search" else set())


@pytest.mark.parametrize("name", CANDIDATES)
def test_both_forms_differ_in_batch_norms_alone(name: str) -> None:
    """So that a supernet's filters fit the child."""
    for stride, dilation in itertools.product((1, 2), (1, 2)):
        search = alone(name, Place(CHANNELS, stride, dilation, "search"))
        child = alone(name, Place(CHANNELS, stride, dilation, "child"))
        filters = [
            {n.name: n.op for n in graph.nodes() if not isinstance(n.op, BatchNorm)}
            for graph in (search, child)
        ]
        assert filters[0] == filters[1]
        names = {key for key, spec in search.weight_specs().items() if spec.trainable}
        assert names <= child.weight_specs().keys()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("skip_connect", ["Identity"]),
        ("max_pool_3x3", ["MaxPool"]),
        ("avg_pool_3x3", ["AvgPool"]),
        ("sep_conv_3x3", ["Relu", "Conv", "Conv", "BatchNorm"] * 2),
        ("sep_conv_5x5", ["Relu", "Conv", "Conv", "BatchNorm"] * 2),
        ("sep_conv_7x7", ["Relu", "Conv", "Conv", "BatchNorm"] * 2),
        ("dil_conv_3x3", ["Relu", "Conv", "Conv", "BatchNorm"]),
        ("dil_conv_5x5", ["Relu", "Conv", "Conv", "BatchNorm"]),
        ("conv_7x1_1x7", ["Relu", "Conv", "Conv", "BatchNorm"]),
    ],
)
def test_the_structure_is_that_of_darts(name: str, expected: list[str]) -> None:
    """github.com/quark0/darts, `operations.py`."""
    assert structure(alone(name, Place(CHANNELS))) == expected


@pytest.mark.parametrize(
    ("name", "kernel", "dilation"),
    [
        ("sep_conv_3x3", 3, 1),
        ("sep_conv_5x5", 5, 1),
        ("sep_conv_7x7", 7, 1),
        ("dil_conv_3x3", 3, 2),
        ("dil_conv_5x5", 5, 2),
    ],
)
def test_a_depthwise_filter_is_dilated_by_its_own_and_by_its_places_dilation(
    name: str, kernel: int, dilation: int
) -> None:
    for more in (1, 2, 4):
        graph = alone(name, Place(CHANNELS, 1, more))
        depthwise = [
            node.op for node in graph.nodes() if isinstance(node.op, Conv) and node.op.groups > 1
        ]
        assert {(op.kernel, op.dilation, op.groups) for op in depthwise} == {
            ((kernel, kernel), (dilation * more, dilation * more), CHANNELS)
        }


def test_a_stride_acts_once() -> None:
    for name in CANDIDATES:
        graph = alone(name, Place(CHANNELS, 2), (64, 64))
        assert graph[graph.outputs["y"]].type.shape[2:] == (32, 32)


class PublishedReduce(nn.Module):
    """`FactorizedReduce` of github.com/quark0/darts, which fails on odd maps."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.conv1 = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        halves = [self.conv0(x), self.conv1(x[:, :, 1:, 1:])]
        result: Tensor = self.norm(torch.cat(halves, dim=1))
        return result


def reduce_graph(size: tuple[int, int]) -> Graph:
    graph = Graph()
    x = graph.add("x", Input(("N", 6, *size)))
    graph.set_output("y", factorized_reduce(Scope(graph), x, Place(8, 2)))
    return graph


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(8, 6), (2, 2), (16, 10)])
def test_the_stride_2_skip_is_the_published_one_on_even_maps_bit_for_bit(
    size: tuple[int, int], training: bool
) -> None:
    torch.manual_seed(0)
    published = PublishedReduce(6, 8).train(training)
    ours = GraphModule(reduce_graph(size)).train(training)
    ours.load_state_dict(published.state_dict(), strict=True)
    x = torch.randn(3, 6, *size)
    assert torch.equal(ours(x), published(x))


@pytest.mark.parametrize("size", [(7, 5), (1, 1), (9, 4)])
def test_the_stride_2_skip_reads_zeros_beyond_an_odd_map(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    published = PublishedReduce(6, 8).eval()
    ours = GraphModule(reduce_graph(size)).eval()
    ours.load_state_dict(published.state_dict(), strict=True)
    x = torch.randn(3, 6, *size)
    padded = functional.pad(x, (0, size[1] % 2, 0, size[0] % 2))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), published(padded))


def test_the_search_space_is_that_of_the_method_in_its_order() -> None:
    """DATA-NAS, `genotypes.py`: PRIMITIVES."""
    assert SEARCH_SPACE == (
        NONE,
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    )
