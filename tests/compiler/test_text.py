"""A graph as text and back."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.graph import Graph, Origin
from compiler.lower import lower
from compiler.ops import Conv, Input, Relu
from compiler.passes import CANONICAL
from compiler.proof import randomise
from compiler.rewrite import apply
from compiler.text import parse_graph, print_graph
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.published import load

SMALL = """\
input = input(shape=('N', 3, 8, 8)) @ input
stem/conv = conv(input, in_channels=3, out_channels=8, kernel=(3, 3), padding=(1, 1)) @ stem
cell0/node2/path0/relu0 = relu(stem/conv) @ cell0/node2/path0/sep_conv_3x3+stem
mean = scale(cell0/node2/path0/relu0, factor=0.3333333333333333)
return logits=mean, features=stem/conv
"""


def same(left: Graph, right: Graph) -> bool:
    return [*left.nodes()] == [*right.nodes()] and left.outputs == right.outputs


def test_it_reads_like_an_assignment_a_line() -> None:
    graph = parse_graph(SMALL)
    assert graph["stem/conv"].op == Conv(3, 8, (3, 3), padding=(1, 1))
    assert graph["cell0/node2/path0/relu0"].origin == (
        Origin(cell=0, node=2, path=0, operation="sep_conv_3x3"),
        Origin(part="stem"),
    )
    assert graph.outputs == {"logits": "mean", "features": "stem/conv"}
    assert print_graph(graph) == SMALL


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_is_lowered_survives_text(
    genotypes: st.SearchStrategy[Genotype], tiny: Callable[..., Network], data: st.DataObject
) -> None:
    network = tiny(data.draw(st.sampled_from(["cifar", "imagenet", "segmentation"])))
    graph = lower(data.draw(genotypes), network, training=data.draw(st.booleans()))
    assert same(parse_graph(print_graph(graph)), graph)


def test_several_origins_and_search_forms_survive_text(tiny: Callable[..., Network]) -> None:
    graph = lower(load("data-m7"), tiny("segmentation"))
    randomise(graph)
    folded, _ = apply(graph, CANONICAL)
    assert same(parse_graph(print_graph(folded)), folded)
    search = lower(load("data-m7"), tiny("cifar"), form="search")
    assert same(parse_graph(print_graph(search)), search)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("y = relu(x", "no node"),
        ("y = sigmoid(x)", "no node"),
        ("y relu(x)", "no node"),
        ("y = relu(nowhere)", "y reads nowhere, which does not exist"),
        ("x = relu(x)", "already has a node x"),
        ("y = relu(x, x)", "y: "),
        ("y = conv(x, in_channels=3)", "out_channels"),
        ("y = conv(x, in_channels=3, out_channels=8, colour=1)", "colour"),
        ("y = conv(x, in_channels=4, out_channels=8)", "takes 4 channels, not 3"),
        ("y = scale(x, factor=__import__('os'))", "malformed"),
        ("y = scale(x, factor=1 +)", "invalid syntax"),
        ("return y=nowhere", "output y reads nowhere"),
    ],
)
def test_a_line_that_does_not_parse_is_named(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^line 2: .*{reason}"):
        parse_graph(f"x = input(shape=('N', 3, 8, 8))\n{line}\n")


def test_a_name_may_end_in_digits_and_words_of_an_origin() -> None:
    graph = Graph()
    x = graph.add("x", Input(("N", 1)), origin=Origin(part="nodes/path7/cellar"))
    graph.set_output("y", graph.add("cell1/node2", Relu(), x, origin=Origin(cell=12, node=30)))
    assert same(parse_graph(print_graph(graph)), graph)
