"""The judge of places: silent on what is healthy, an alarm where a fault is, not behind it."""

import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.interpreter import Interpreter
from compiler.lower import lower
from compiler.ops import BatchNorm
from compiler.places import boundaries, place_name, region
from compiler.precision import typed
from datac.published import load
from exporters.canonical import canonical_graph
from exporters.check import check
from exporters.expose import LABEL, expose
from exporters.faults import FAULTS, inject
from exporters.faults.runtimes import HEALTHY
from exporters.initialise import initialise
from exporters.places import TOLERATED, judge_places, unseen
from exporters.rounding import ARITHMETIC


@pytest.fixture(scope="module")
def net(networks):
    """(graph with weights, input)."""
    network = networks.segmentation
    graph = lower(load("data-m7"), network)
    initialise(graph, network.input, 0)
    x = np.random.default_rng(0).standard_normal((2, *network.input)).astype(np.float32)
    return graph, x


def seen_by(variation, graph, x):
    values = boundaries(variation.deployed(graph))
    return {"input": x} | variation.run(graph, x, values)


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_healthy_is_well_within_its_tolerance(name, net):
    graph, x = net
    way = HEALTHY[name]
    made = way.deployed(graph)
    seen = seen_by(way, graph, x)
    errors = judge_places(made, seen, ARITHMETIC[way.precision])
    assert unseen(made, seen) == []
    assert {error.place for error in errors} >= {place_name(made[v]) for v in boundaries(made)}
    assert max(error.ratio for error in errors) < TOLERATED / 1.2


@pytest.mark.parametrize("seed", range(4))
def test_batch_norms_that_nobody_folded_round_their_scales_and_shifts(seed, net):
    graph, x = net[0].copy(), net[1]
    draw = np.random.default_rng(seed)
    for name, weight in graph.weights.items():
        if name.endswith("running_var"):  # scales of up to 200, where epsilon counts
            spread = 10 ** draw.uniform(-5, 0, weight.shape)
            graph.weights[name] = spread.astype(np.float32)
        elif name.endswith("running_mean"):
            graph.weights[name] = draw.standard_normal(weight.shape).astype(np.float32)
    values = [node.name for node in graph.nodes() if node.operands]
    way = HEALTHY["ONNX Runtime, batch norms not folded"]
    seen = {"input": x} | way.run(graph, x, values)
    errors = judge_places(graph, seen, ARITHMETIC["f32"])
    norms = [error.ratio for error in errors if isinstance(graph[error.value].op, BatchNorm)]
    assert len(norms) > 20
    assert max(norms) < 1.1  # 1.2 to 2.1 where each value is taken to be rounded by itself


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from([*FAULTS]), seed=st.integers(0, 100))
def test_a_fault_is_named_where_it_is_and_nowhere_else(name, seed, net):
    graph, x = net
    healthy = Interpreter(graph).run({"input": x}, wanted=[n.name for n in graph.nodes()])
    damaged = inject(FAULTS[name], graph, healthy, np.random.default_rng(seed))
    if damaged is None or damaged.place == "input":
        return
    made = canonical_graph(graph)
    seen = seen_by(HEALTHY["numpy"], damaged.graph, x)
    errors = judge_places(made, seen, ARITHMETIC["f32"])
    wrong = {error.place for error in errors if error.ratio > TOLERATED}
    change = (
        Interpreter(damaged.graph).run({"input": x})["logits"] - healthy[graph.outputs["logits"]]
    )
    if np.abs(change).max() > 1e-5:
        assert wrong == {damaged.place}
    else:
        assert wrong <= {damaged.place}


def test_a_region_ends_at_what_is_seen(net):
    graph = canonical_graph(net[0])
    node = next(n for n in graph.nodes() if n.name.endswith("node3/sum"))
    alone = region(graph, node.name, boundaries(graph))
    assert alone.nodes == {node.name}
    assert alone.reads == {*node.operands}
    whole = region(graph, node.name, ())
    assert whole.reads == {"input"}
    assert alone.nodes < whole.nodes


def test_a_value_of_another_shape_is_wrong_and_so_is_what_is_not_finite(net):
    graph, x = net
    made, seen = canonical_graph(graph), seen_by(HEALTHY["numpy"], graph, x)
    name = next(v for v in boundaries(made) if v.endswith("node2/sum"))
    for spoiled in (seen[name][..., :-1], seen[name] * np.nan, seen[name] + np.inf):
        errors = judge_places(made, seen | {name: spoiled}, ARITHMETIC["f32"])
        first = next(error for error in errors if error.ratio > TOLERATED)
        assert (first.value, first.ratio) == (name, np.inf)


def test_types_stand_in_the_graph_and_large_weights_are_refused(net):
    graph = canonical_graph(net[0])
    half = typed(graph, "float16", keep=["head/classifier"])
    types = {node.name: node.type.dtype for node in half.nodes()}
    assert types["input"] == types["head/classifier"] == "float32"
    assert types[half.outputs["logits"]] == "float32"
    assert types["cell0/node2/sum"] == "float16"
    large = graph.copy()
    name = next(iter(graph.weights))
    large.weights[name] = graph.weights[name] * np.float32(1e9)
    with pytest.raises(ValueError, match=r"has values up to .* float16 ends at 65504"):
        typed(large, "float16")


# ---- in a build ---------------------------------------------------------------------------------


def test_a_check_build_says_what_it_is(build):
    model = onnx.load(build / "model.onnx")
    exposed = expose(model, ["cell0/node2/sum", "no such value"])
    assert [output.name for output in exposed.graph.output] == ["logits", "cell0/node2/sum"]
    assert LABEL in {p.key for p in exposed.metadata_props}
    assert len(model.graph.output) == 1


def test_the_gate_looks_inside_every_engine_that_is_an_onnx_file(build):
    report = check(build, threads=1)
    places = {result.target: result.places for result in report.targets}
    assert report.verdict == "pass"
    assert places["torch"] is None
    for name in ("onnx", "openvino"):
        assert places[name].judged > 25
        assert (places[name].wrong, places[name].unseen) == ((), ())
        assert places[name].worst.rms < TOLERATED * places[name].worst.predicted
    assert json.loads(report.to_json())["targets"][0]["places"]["tolerated"] == TOLERATED
