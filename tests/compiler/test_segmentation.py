"""Output stride: where a stride is taken away, the cells behind are dilated instead."""

from collections.abc import Callable

import pytest
import torch

from compiler.graph import Graph
from compiler.lower import lower
from compiler.ops import Conv
from compiler.skeletons.segmentation import plan, rates
from compiler.torch_module import GraphModule
from datac.documents.network import DEFAULTS, Network
from datac.published import load

STRIDES = (8, 16, 32)
CELLS = 6
"""Reductions at 2 and 4."""

Tiny = Callable[..., Network]


def graph(tiny: Tiny, stride: int, name: str = "darts-v2") -> Graph:
    network = tiny("segmentation", output_stride=stride, cells=CELLS, input=(3, 97, 64))
    return lower(load(name), network)


def sizes(lowered: Graph) -> list[tuple[int | str, ...]]:
    return [lowered[f"cell{index}/concat"].type.shape[2:] for index in range(CELLS)]


def test_the_map_shrinks_down_to_the_output_stride_and_no_further(tiny: Tiny) -> None:
    eighth, sixteenth, thirty_second = (13, 8), (7, 4), (4, 2)  # 97 x 64, rounded up
    assert sizes(graph(tiny, 8)) == [eighth] * 6
    assert sizes(graph(tiny, 16)) == [eighth] * 2 + [sixteenth] * 4
    assert sizes(graph(tiny, 32)) == [eighth] * 2 + [sixteenth] * 2 + [thirty_second] * 2


def dilations(lowered: Graph, operation: str) -> list[int]:
    found = {}
    for node in lowered.nodes():
        origin = node.origin[0]
        if origin.operation == operation and isinstance(node.op, Conv) and node.op.groups > 1:
            assert origin.cell is not None
            found[origin.cell] = node.op.dilation[0]
    return [found[cell] for cell in sorted(found)]


def test_cells_behind_a_stride_that_was_taken_away_are_dilated(tiny: Tiny) -> None:
    """`sep_conv_3x3` stands in the normal cells 0, 1, 3 and 5 of DARTS V2."""
    assert dilations(graph(tiny, 32), "sep_conv_3x3") == [1, 1, 1, 1]
    assert dilations(graph(tiny, 16), "sep_conv_3x3") == [1, 1, 1, 2]
    assert dilations(graph(tiny, 8), "sep_conv_3x3") == [1, 1, 2, 4]
    assert dilations(graph(tiny, 8), "dil_conv_3x3") == [2, 2, 4, 8]


def test_a_cell_keeps_the_dilation_it_finds_and_doubles_it_for_those_behind(tiny: Tiny) -> None:
    network = tiny("segmentation", output_stride=8, cells=CELLS)
    assert [(cell.kind, cell.stride, cell.dilation) for cell in plan(network)] == [
        ("normal", 1, 1),
        ("normal", 1, 1),
        ("reduction", 1, 1),
        ("normal", 1, 2),
        ("reduction", 1, 2),
        ("normal", 1, 4),
    ]


def test_the_pyramids_rates_follow_the_output_stride(tiny: Tiny) -> None:
    """arXiv 1706.05587, section 3.3: 6, 12, 18 at 16, doubled at 8."""
    found = {stride: rates(tiny("segmentation", output_stride=stride)) for stride in STRIDES}
    assert found == {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}


def test_the_output_stride_changes_no_size_of_a_cell_without_a_strided_skip(tiny: Tiny) -> None:
    """The two halves of a factorized reduce are one 1x1 convolution of the same size."""
    counts = {graph(tiny, stride).cost().parameters for stride in STRIDES}
    assert len(counts) == 1
    adds = [graph(tiny, stride).cost().multiply_adds for stride in STRIDES]
    assert adds[0] > adds[1] > adds[2]


@pytest.mark.parametrize("name", ["data-m4", "data-m7", "gdas-v1"])
def test_the_output_stride_changes_no_weight(name: str) -> None:
    """So a backbone of one output stride fits every other, as DeepLab's does."""
    network = DEFAULTS["segmentation"]
    specs = [
        lower(load(name), network.model_copy(update={"output_stride": stride})).weight_specs()
        for stride in STRIDES
    ]
    assert specs[0] == specs[1] == specs[2]
    imagenet = lower(load(name), DEFAULTS["imagenet"]).weight_specs()
    backbone = {key for key in imagenet if not key.startswith("head.")}
    assert backbone == {key for key in specs[0] if not key.startswith("head.")}


@pytest.mark.parametrize("stride", STRIDES)
def test_the_answer_has_the_size_of_the_image(stride: int, tiny: Tiny) -> None:
    module = GraphModule(graph(tiny, stride, "data-m7")).eval()
    with torch.inference_mode():
        for size in ((97, 64), (33, 18), (1, 1)):
            assert module(torch.randn(1, 3, *size)).shape == (1, 5, *size)
