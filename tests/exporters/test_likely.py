"""A wrong place is told by the fault that would give its values, and by no other."""

import numpy as np
import pytest

from compiler.interpreter import Interpreter
from compiler.lower import lower
from compiler.ops import BatchNorm
from compiler.places import boundaries
from datac.published import load
from exporters.canonical import canonical_graph
from exporters.check import check
from exporters.faults import FAULTS, inject
from exporters.faults.runtimes import HEALTHY
from exporters.initialise import initialise
from exporters.likely import CERTAIN, likely_kind
from exporters.places import TOLERATED, judge_places
from exporters.precision import Plan
from exporters.rounding import ARITHMETIC
from exporters.targets.onnx import CpuRunner


def made_net(cell, network):
    """(graph with weights, input, values); scales and shifts of the batch norms drawn as well."""
    graph = lower(load(cell), network)
    initialise(graph, network.input, 0)
    draw = np.random.default_rng(0)
    for node in graph.nodes():
        if isinstance(node.op, BatchNorm):
            for suffix, middle in (("weight", 1.0), ("bias", 0.0)):
                shape = (node.op.channels,)
                drawn = middle + 0.2 * draw.standard_normal(shape)
                graph.weights[node.weight_name(suffix)] = drawn.astype(np.float32)
    x = draw.standard_normal((2, *network.input)).astype(np.float32)
    names = [node.name for node in graph.nodes()]
    return graph, x, Interpreter(graph).run({"input": x}, wanted=names)


@pytest.fixture(scope="module")
def nets(networks):
    """Two of both tasks, whose cells have every operation between them."""
    size = {"channels": 6, "input": (3, 32, 32)}
    image = networks.classification.model_copy(update=size)
    street = networks.segmentation.model_copy(update={"channels": 6, "input": (3, 64, 64)})
    return [made_net("data-m7", image), made_net("darts-v1", image), made_net("nasnet-a", street)]


@pytest.fixture(scope="module")
def net(nets):
    return nets[0]


@pytest.mark.parametrize("name", [*CERTAIN, "path missing", "path doubled"])
def test_a_fault_that_leaves_nothing_to_chance_is_recognised(name, nets):
    tried = 0
    for graph, x, values in nets:
        made = canonical_graph(graph)
        for seed in range(4):
            damaged = inject(FAULTS[name], graph, values, np.random.default_rng(seed))
            if damaged is None:
                break
            seen = {"input": x} | HEALTHY["numpy"].run(damaged.graph, x, boundaries(made))
            errors = judge_places(made, seen, ARITHMETIC["f32"])
            first = next((error for error in errors if error.ratio > TOLERATED), None)
            if first is None:
                continue  # it changes nothing here, as a resize of one pixel
            tried += 1
            assert likely_kind(graph, Plan("f32"), first, seen) == name
            break
    assert tried


def test_chance_is_not_explained(net):
    graph, x, values = net
    made = canonical_graph(graph)
    for name in ("stale weight", "flipped bit", "swapped channels"):
        damaged = inject(FAULTS[name], graph, values, np.random.default_rng(0))
        seen = {"input": x} | HEALTHY["numpy"].run(damaged.graph, x, boundaries(made))
        errors = judge_places(made, seen, ARITHMETIC["f32"])
        first = next(error for error in errors if error.ratio > TOLERATED)
        assert likely_kind(graph, Plan("f32"), first, seen) is None


def test_the_gate_says_what_it_looks_like(build, monkeypatch):
    """A runtime that adds one path twice."""
    run = CpuRunner.run
    total, path = "cell0/node2/sum", "cell0/node2/path0/sep_conv_3x3"

    def twice(self, inputs):
        answers = run(self, inputs)
        again = [value for name, value in answers.items() if name.startswith(path)]
        return answers | ({total: answers[total] + again[0]} if total in answers else {})

    monkeypatch.setattr(CpuRunner, "run", twice)
    report = check(build, threads=1)
    result = next(result for result in report.targets if result.target == "onnx")
    assert result.places.wrong[0].kind == "path doubled"
    assert "cell0/node2 is off by" in result.reason
    assert 'it looks like "path doubled"' in result.reason
