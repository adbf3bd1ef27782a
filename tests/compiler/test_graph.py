"""The four edits of a graph, and what is read from it."""

import numpy as np
import pytest

from compiler.graph import Graph, Origin
from compiler.ops import BatchNorm, Conv, Cost, Identity, Input, Relu, Sum, TensorType
from compiler.verify import verify

CONV = Conv(3, 4, (3, 3), padding=(1, 1))


@pytest.fixture
def graph() -> Graph:
    """input → conv → norm → (relu, skip) → sum."""
    made = Graph()
    x = made.add("input", Input(("N", 3, 8, 8)))
    conv = made.add("stem/conv", CONV, x, origin=Origin(part="stem"))
    norm = made.add("stem/norm", BatchNorm(4), conv)
    relu = made.add("relu", Relu(), norm)
    made.set_output("y", made.add("sum", Sum(), relu, norm, relu))
    assert len(list(made.nodes())) == 5  # all were read, so what an edit leaves as it was shows
    return made


def test_a_node_has_its_operands_in_order_and_an_inferred_type(graph: Graph) -> None:
    assert graph["sum"].operands == ("relu", "stem/norm", "relu")
    assert graph["sum"].type == TensorType(("N", 4, 8, 8))
    assert graph.users("stem/norm") == ("relu", "sum")
    assert graph.users("relu") == ("sum", "sum"), "one entry for each slot"
    assert [node.name for node in graph.inputs] == ["input"]
    assert len(graph) == 5
    assert "relu" in graph
    assert "nowhere" not in graph


def test_nodes_come_after_their_operands_and_otherwise_as_added(graph: Graph) -> None:
    late = graph.add("late", Relu(), "input")
    graph.add("later", Relu(), "input")
    graph.replace_uses("relu", graph.add("other", Relu(), "stem/norm"))
    names = [node.name for node in graph.nodes()]
    assert names.index("other") < names.index("sum")
    assert names.index(late) < names.index("later")
    for node in graph.nodes():
        assert all(names.index(operand) < names.index(node.name) for operand in node.operands)


def test_the_order_follows_every_edit(graph: Graph) -> None:
    other = graph.add("other", Relu(), "stem/norm")
    assert [node.name for node in graph.nodes()][-1] == other
    graph.replace_uses("relu", other)
    names = [node.name for node in graph.nodes()]
    assert names.index(other) < names.index("sum")
    graph.remove("relu")
    left = [node.name for node in graph.nodes()]
    assert left == [name for name in names if name != "relu"]
    assert [node.name for node in graph.copy().nodes()] == left


def test_cost_is_the_sum_over_the_nodes(graph: Graph) -> None:
    assert graph.cost() == Cost(parameters=4 * 3 * 9 + 2 * 4, multiply_adds=4 * 64 * 27)


def test_weights_are_named_after_their_node(graph: Graph) -> None:
    assert [*graph.weight_specs()][:2] == ["stem.conv.weight", "stem.norm.weight"]


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (Origin(), ""),
        (Origin(part="head/branch1"), "head/branch1"),
        (Origin(cell=3), "cell3"),
        (Origin("preprocess0", cell=3), "cell3/preprocess0"),
        (
            Origin(cell=3, node=2, path=0, operation="skip_connect"),
            "cell3/node2/path0/skip_connect",
        ),
    ],
)
def test_an_origin_reads_like_a_path(origin: Origin, text: str) -> None:
    assert str(origin) == text


def test_a_label_is_the_origin_and_the_last_of_the_name(graph: Graph) -> None:
    assert graph["stem/conv"].label == "stem/conv"
    assert graph["relu"].label == "relu"
    origins = (Origin(cell=0, node=2, path=1, operation="sep_conv_3x3"), Origin(part="stem"))
    graph.add("cell0/node2/path1/relu0", Relu(), "relu", origin=origins)
    assert graph["cell0/node2/path1/relu0"].label == "cell0/node2/path1/sep_conv_3x3/relu0"


def test_a_name_is_given_once(graph: Graph) -> None:
    with pytest.raises(ValueError, match="already has a node relu"):
        graph.add("relu", Relu(), "input")


def test_an_operand_must_exist(graph: Graph) -> None:
    with pytest.raises(ValueError, match="new reads nowhere, which does not exist"):
        graph.add("new", Relu(), "nowhere")
    with pytest.raises(ValueError, match="output z reads nowhere"):
        graph.set_output("z", "nowhere")
    assert "new" not in graph


def test_operands_that_do_not_fit_name_the_node(graph: Graph) -> None:
    with pytest.raises(ValueError, match="new: sum takes operands of one type"):
        graph.add("new", Sum(), "relu", "input")
    assert "new" not in graph


def test_an_operation_may_change_while_its_type_stays(graph: Graph) -> None:
    origin = (Origin(part="merged"),)
    graph.set_op("stem/conv", Conv(3, 4, (1, 1)), origin)
    assert graph["stem/conv"].op == Conv(3, 4, (1, 1))
    assert graph["stem/conv"].origin == origin
    with pytest.raises(ValueError, match="stem/conv would change its type"):
        graph.set_op("stem/conv", Conv(3, 4, (3, 3)), origin)


def test_readers_and_outputs_follow_a_replacement(graph: Graph) -> None:
    graph.replace_uses("relu", "stem/norm")
    assert graph["sum"].operands == ("stem/norm",) * 3
    graph.replace_uses("sum", "stem/norm")
    assert graph.outputs == {"y": "stem/norm"}


def test_what_is_put_behind_a_value_keeps_reading_it(graph: Graph) -> None:
    graph.add("behind", Identity(), "relu")
    graph.replace_uses("relu", "behind")
    assert graph["behind"].operands == ("relu",)
    assert graph["sum"].operands == ("behind", "stem/norm", "behind")
    verify(graph)


def test_a_replacement_must_have_the_same_type(graph: Graph) -> None:
    with pytest.raises(ValueError, match=r"input \(.*\) cannot stand for relu"):
        graph.replace_uses("relu", "input")


def test_what_is_read_stays(graph: Graph) -> None:
    for name in ("relu", "sum"):
        with pytest.raises(ValueError, match=f"{name} is still read"):
            graph.remove(name)


def test_a_node_takes_its_weights_along(graph: Graph) -> None:
    graph.weights = {
        name: np.zeros(spec.shape, spec.dtype) for name, spec in graph.weight_specs().items()
    }
    graph.replace_uses("stem/norm", "stem/conv")
    graph.remove("stem/norm")
    assert [*graph.weights] == ["stem.conv.weight"]
    verify(graph)


def test_a_copy_has_its_own_nodes_weights_and_outputs(graph: Graph) -> None:
    graph.weights = {"stem.conv.weight": np.zeros((4, 3, 3, 3))}
    twin = graph.copy()
    twin.set_op("relu", Identity(), ())
    assert (graph["relu"].op, twin["relu"].op) == (Relu(), Identity())
    twin.replace_uses("sum", "relu")
    twin.remove("sum")
    twin.weights.clear()
    assert "sum" in graph
    assert graph.outputs == {"y": "sum"}
    assert graph.users("relu") == ("sum", "sum")
    assert len(graph.weights) == 1


def test_what_reaches_no_output_can_be_removed_at_once(graph: Graph) -> None:
    aside = graph.add("aside", Relu(), "relu")
    graph.add("further", Relu(), aside)
    graph.remove_dead()
    assert "aside" not in graph
    assert "further" not in graph
    assert len(graph) == 5
