"""genotype + network → graph: names, what is left out, what is refused, which sizes work."""

from collections.abc import Callable

import pytest
import torch

from compiler.graph import Graph, Origin
from compiler.lower import AUXILIARY, lower, used_paths
from compiler.ops import BatchNorm, Conv, Dropout, DropPath, Identity
from compiler.skeletons import SKELETONS
from compiler.text import print_graph
from compiler.torch_module import GraphModule
from compiler.verify import verify
from datac.documents.genotype import Cell, Genotype, Node, Path
from datac.documents.network import DEFAULTS, Network
from datac.errors import BadInput
from datac.published import NAMES, load

Tiny = Callable[..., Network]
ALL = ("cifar", "imagenet", "segmentation")


def cell(*nodes: list[tuple[str, int]], output: tuple[int, ...]) -> Cell:
    return Cell(
        nodes=tuple(
            Node(paths=tuple(Path(operation=name, input=source) for name, source in paths))
            for paths in nodes
        ),
        output=output,
    )


def both(made: Cell, aggregation: str = "sum") -> Genotype:
    return Genotype.model_validate(
        {"cells": {"normal": made, "reduction": made}, "aggregation": aggregation}
    )


def origins(graph: Graph) -> set[Origin]:
    return {origin for node in graph.nodes() for origin in node.origin}


@pytest.mark.parametrize("skeleton", ALL)
@pytest.mark.parametrize("name", NAMES)
def test_every_path_has_an_origin_and_none_is_invented(
    name: str, skeleton: str, tiny: Tiny
) -> None:
    network = tiny(skeleton, cells=5)
    genotype = load(name)
    paths = used_paths(genotype, SKELETONS[skeleton].plan(network))
    found = {origin for origin in origins(lower(genotype, network)) if origin.path is not None}
    complete = origins(lower(genotype, network, keep_unread=True))
    assert found <= {*paths}
    assert {origin for origin in complete if origin.path is not None} == {*paths}


def test_the_names_say_where_a_node_stands(tiny: Tiny) -> None:
    graph = lower(load("data-m7"), tiny("cifar"))
    name = "cell0/node2/path1/depthwise0"
    assert graph[name].label == "cell0/node2/path1/sep_conv_3x3/depthwise0"
    assert graph[name].weight_name("weight") == "cell0.node2.path1.depthwise0.weight"
    assert {node.name.partition("/")[0] for node in graph.nodes()} == {
        *("input", "stem", "cell0", "cell1", "cell2", "head")
    }
    labels = [node.label for node in graph.nodes()]
    assert len({*labels}) == len(labels)


def test_lowering_twice_gives_the_same_text(tiny: Tiny) -> None:
    network = tiny("segmentation")
    texts = {print_graph(lower(load("amoebanet-a"), network)) for _ in range(3)}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        ("sepconv3x3", 'normal cell, node 2: unknown operation "sepconv3x3". Did you mean "sep_c'),
        ("transformer", 'unknown operation "transformer" (datac show --operations lists all, '),
        ("none", 'normal cell, node 2: "none" is no path; leave it out'),
    ],
)
def test_an_operation_that_is_no_candidate_is_one_sentence(
    operation: str, sentence: str, tiny: Tiny
) -> None:
    genotype = both(cell([(operation, 0)], output=(2,)))
    with pytest.raises(BadInput) as refused:
        lower(genotype, tiny("cifar"))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_operation_of_a_dead_node_is_refused_too(tiny: Tiny) -> None:
    genotype = both(cell([("skip_connect", 0)], [("noise", 0)], output=(2,)))
    with pytest.raises(BadInput, match='node 3: unknown operation "noise"'):
        lower(genotype, tiny("cifar"))


def test_nodes_that_reach_no_output_are_left_out(tiny: Tiny) -> None:
    genotype = both(
        cell(
            [("sep_conv_3x3", 0), ("skip_connect", 1)],
            [("sep_conv_5x5", 2)],  # nobody reads it
            [("max_pool_3x3", 2)],
            [],
            output=(4,),
        )
    )
    graph = lower(genotype, tiny("cifar"))
    verify(graph)
    assert {origin.node for origin in origins(graph)} == {None, 2, 4}


def test_a_cells_input_that_no_path_reads_is_left_out(tiny: Tiny) -> None:
    graph = lower(both(cell([("skip_connect", 1)], output=(2,))), tiny("cifar"))
    verify(graph)
    parts = {origin.part for origin in origins(graph)}
    assert "preprocess1" in parts
    assert "preprocess0" not in parts


def test_the_same_path_twice_has_weights_of_its_own(tiny: Tiny) -> None:
    graph = lower(both(cell([("dil_conv_3x3", 1)] * 2, output=(2,))), tiny("cifar"))
    specs = graph.weight_specs()
    assert "cell0.node2.path0.depthwise0.weight" in specs
    assert "cell0.node2.path1.depthwise0.weight" in specs


@pytest.mark.parametrize("count", [1, 2, 3])
def test_mean_divides_by_the_number_of_paths(count: int, tiny: Tiny) -> None:
    made = cell([("skip_connect", 1)] * count, output=(2,))
    torch.manual_seed(0)
    total = GraphModule(lower(both(made), tiny("cifar", cells=1))).eval()
    mean = GraphModule(lower(both(made, "mean"), tiny("cifar", cells=1))).eval()
    mean.load_state_dict(total.state_dict(), strict=True)
    for module in (total, mean):
        dict(module.named_parameters())["head.linear.bias"].detach().zero_()
    x = torch.randn(2, 3, 9, 7)
    torch.testing.assert_close(mean(x) * count, total(x))


def test_the_output_is_concatenated_in_the_order_that_the_genotype_names(tiny: Tiny) -> None:
    graph = lower(
        both(cell([("skip_connect", 1)], [("skip_connect", 0)], output=(3, 2))), tiny("cifar")
    )
    assert graph["cell0/concat"].operands == ("cell0/node3/sum", "cell0/node2/sum")


@pytest.mark.parametrize("skeleton", ALL)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 1), (33, 18)])
def test_any_size_works_down_to_a_single_pixel(
    skeleton: str, size: tuple[int, int], tiny: Tiny
) -> None:
    network = tiny(skeleton, input=(3, *size))
    graph = lower(load("data-m7"), network)
    with torch.inference_mode():
        result = GraphModule(graph).eval()(torch.randn(2, 3, *size))
    ending = size if skeleton == "segmentation" else ()
    assert result.shape == (2, 5, *ending)
    assert graph[graph.outputs["logits"]].type.shape == ("N", 5, *ending)


@pytest.mark.parametrize("skeleton", ALL)
@pytest.mark.parametrize(("channels", "cells", "planes"), [(2, 1, 1), (6, 2, 4), (10, 7, 5)])
def test_any_width_depth_and_number_of_input_planes_works(
    skeleton: str, channels: int, cells: int, planes: int, tiny: Tiny
) -> None:
    network = tiny(skeleton, channels=channels, cells=cells, input=(planes, 18, 14))
    graph = lower(load("data-m4"), network)
    verify(graph)
    with torch.inference_mode():
        GraphModule(graph).eval()(torch.randn(1, planes, 18, 14))


@pytest.mark.parametrize("skeleton", ALL)
def test_training_adds_what_acts_only_then_and_renames_nothing(skeleton: str, tiny: Tiny) -> None:
    network = tiny(skeleton, input=(3, 96, 96) if skeleton != "cifar" else (3, 32, 32), cells=4)
    graph = lower(load("data-m7"), network)
    training = lower(load("data-m7"), network, training=True)
    assert [*graph.outputs] == ["logits"]
    assert {*training.outputs} == {"logits"} | ({AUXILIARY} if skeleton != "imagenet" else set())
    more = training.weight_specs().keys() - graph.weight_specs().keys()
    assert all(name.startswith("auxiliary.") for name in more)
    assert graph.weight_specs().items() <= training.weight_specs().items()
    kinds = {type(node.op) for node in graph.nodes()}
    assert kinds.isdisjoint({Dropout, DropPath})


@pytest.mark.parametrize("skeleton", ["cifar", "imagenet"])
def test_the_published_networks_have_their_auxiliary_head(skeleton: str) -> None:
    """DARTS `model.py`: 2x2 remains behind its pool, 1x1 behind its second convolution."""
    graph = lower(load("darts-v2"), DEFAULTS[skeleton], training=True)
    shape = graph["auxiliary/conv1"].type.shape
    assert shape == ("N", 768, 1, 1)
    assert graph[graph.outputs[AUXILIARY]].type.shape == ("N", DEFAULTS[skeleton].classes)
    assert ("auxiliary/norm1" in graph) == (skeleton == "cifar")


def test_a_map_too_small_for_the_auxiliary_head_goes_without(tiny: Tiny) -> None:
    for size, outputs in ((29, {"logits", AUXILIARY}), (28, {"logits"})):
        network = tiny("cifar", input=(3, size, size))
        graph = lower(load("data-m7"), network, training=True)
        verify(graph)
        assert {*graph.outputs} == outputs


def test_every_path_but_an_identity_can_be_dropped(tiny: Tiny) -> None:
    """DATA-NAS `model_gumbel.py`: a stride-2 skip is dropped too, a pool likewise."""
    graph = lower(load("data-m7"), tiny("cifar"), training=True)
    for node in graph.nodes():
        if node.name.endswith("/sum") and "/node" in node.name:
            for operand in node.operands:
                assert isinstance(graph[operand].op, Identity | DropPath)
    dropped = [node for node in graph.nodes() if isinstance(node.op, DropPath)]
    assert {node.origin[0].operation for node in dropped} >= {"max_pool_3x3", "skip_connect"}


def test_the_search_form_differs_in_the_cells_alone(tiny: Tiny) -> None:
    graph = lower(load("data-m7"), tiny("cifar"), form="search")
    for node in graph.nodes():
        if isinstance(node.op, BatchNorm):
            assert node.op.affine == node.name.startswith(("stem", "head")), node.name


def widths(graph: Graph) -> list[int]:
    return [
        node.op.out_channels
        for node in graph.nodes()
        if isinstance(node.op, Conv) and node.name.endswith("preprocess1/conv")
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (8, [4, 4, 8, 8, 8, 16, 16, 16]),  # reductions at 2 and 5
        (20, [4] * 6 + [8] * 7 + [16] * 7),  # at 6 and 13
    ],
)
def test_the_width_doubles_a_third_and_two_thirds_down(
    cells: int, expected: list[int], tiny: Tiny
) -> None:
    assert widths(lower(load("darts-v2"), tiny("cifar", cells=cells))) == expected
