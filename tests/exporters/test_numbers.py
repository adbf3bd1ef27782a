"""The judge of numbers, with played runners and, on random genotypes, with ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.candidates import CANDIDATES
from compiler.lower import lower
from datac.documents.genotype import Cell, Genotype, Node, Path
from datac.documents.profile import only
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.float64 import make_reference
from exporters.initialise import initialise
from exporters.numbers import judge_numbers
from exporters.reference import TOLERATED, Case, Reference
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, Engine

RELATIVE = 1e-7
"""The error that the played references predict."""


class Played:
    """A runner that answers what a function makes of the reference's own outputs."""

    device, threads = "cpu", 1

    def __init__(self, cases, change=lambda name, outputs: outputs):
        self.cases, self.change = cases, change

    def run(self, inputs):
        (case,) = (c for c in self.cases if c.input is inputs["input"])
        outputs = {key: value.astype(np.float32) for key, value in case.outputs.items()}
        return self.change(case.name, outputs)


def reference_of(**outputs):
    """Two cases; each output has RMS 1, so that the tolerance is that of the prediction."""
    draw = np.random.default_rng(0)
    cases = []
    for name in ("first", "second"):
        made = {}
        for key, shape in outputs.items():
            value = draw.standard_normal(shape)
            made[key] = (value / np.sqrt(np.mean(value**2))).astype(np.float32).astype(np.float64)
        cases.append(Case(name, draw.standard_normal((1, 3, 8, 8)).astype(np.float32), made))
    return Reference(tuple(cases), dict.fromkeys(outputs, RELATIVE))


@pytest.fixture
def reference():
    return reference_of(logits=(1, 10), mask=(1, 4, 8, 8))


def off_by(rms, output="mask", only="second"):
    """An offset whose RMS is `rms` on one output of one case."""

    def change(name, outputs):
        if name != only:
            return outputs
        return outputs | {output: outputs[output].astype(np.float64) + rms}

    return change


def test_the_reference_itself_passes(reference):
    numbers = judge_numbers(Played(reference.cases), reference, None)
    assert (numbers.verdict, numbers.reason) == ("pass", None)
    assert {(e.input, e.output) for e in numbers.errors} == {
        (name, key) for name in ("first", "second") for key in ("logits", "mask")
    }
    assert numbers.worst.rms == 0


@given(st.floats(0.01, 100))
def test_the_tolerance_is_four_times_the_prediction(ratio):
    """Golden: TOLERATED · predicted error · RMS of the output = 4 · 1e-7 · 1."""
    reference = reference_of(mask=(1, 4, 8, 8))
    runner = Played(reference.cases, off_by(ratio * 4e-7))
    numbers = judge_numbers(runner, reference, None)
    if abs(ratio - 1) > 0.01:
        assert numbers.verdict == ("pass" if ratio < 1 else "fail")
    assert numbers.worst.rms == pytest.approx(ratio * 4e-7)
    assert numbers.worst.tolerance == pytest.approx(4e-7)
    assert TOLERATED == 4


def test_the_worst_output_and_its_input_are_named(reference):
    numbers = judge_numbers(Played(reference.cases, off_by(1e-5)), reference, None)
    assert numbers.verdict == "fail"
    assert (numbers.worst.output, numbers.worst.input) == ("mask", "second")
    assert numbers.worst.max_abs == pytest.approx(1e-5)
    assert "output mask is off by 1e-05 (RMS) on input second" in numbers.reason


def one_value(value):
    def change(name, outputs):
        spoiled = outputs["logits"].copy()
        spoiled[0, 3] = value
        return outputs | {"logits": spoiled}

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_fails(reference, value):
    numbers = judge_numbers(Played(reference.cases, one_value(value)), reference, None)
    assert numbers.verdict == "fail"
    assert "output logits has 1 values that are NaN or infinite on input first" in numbers.reason


def test_an_output_that_is_absent_fails(reference):
    def change(name, outputs):
        return {"logits": outputs["logits"]}

    numbers = judge_numbers(Played(reference.cases, change), reference, None)
    assert (numbers.verdict, numbers.reason) == ("fail", "there is no output mask")


@pytest.mark.parametrize(
    "change", [lambda v: v[:, :2], lambda v: v.transpose(0, 2, 1, 3), lambda v: v[0]]
)
def test_an_output_of_another_shape_fails_even_if_it_would_broadcast(reference, change):
    runner = Played(
        reference.cases, lambda name, outputs: outputs | {"mask": change(outputs["mask"])}
    )
    numbers = judge_numbers(runner, reference, None)
    assert numbers.verdict == "fail"
    assert "output mask has shape" in numbers.reason


def test_no_input_of_the_shape_is_inconclusive(reference):
    numbers = judge_numbers(Played(reference.cases), reference, only((1, 3, 9, 9)))
    assert (numbers.verdict, numbers.worst) == ("inconclusive", None)


def test_where_nothing_may_be_off_the_smallest_error_fails():
    """A constant output: predicted error 0."""
    cases = reference_of(logits=(1, 4)).cases
    exact = Reference(cases, {"logits": 0.0})
    assert judge_numbers(Played(cases), exact, None).verdict == "pass"
    runner = Played(cases, off_by(1e-12, "logits"))
    assert judge_numbers(runner, exact, None).verdict == "fail"


# ---- the prediction against a runtime ---------------------------------------------------------


@st.composite
def cells(draw):
    nodes = []
    for number in range(2, 2 + draw(st.integers(1, 3))):
        path = st.builds(
            Path, operation=st.sampled_from([*CANDIDATES]), input=st.integers(0, number - 1)
        )
        nodes.append(Node(paths=tuple(draw(st.lists(path, min_size=1, max_size=3)))))
    return Cell(nodes=tuple(nodes), output=tuple(range(2, 2 + len(nodes))))


genotypes = st.builds(
    Genotype,
    cells=st.fixed_dictionaries({"normal": cells(), "reduction": cells()}),
    aggregation=st.sampled_from(["sum", "mean"]),
)


class Net:
    """A net with drawn weights, its reference, and ONNX Runtime's opinion of any variant of it."""

    def __init__(self, genotype, network, folder, seed=0):
        self.genotype, self.network, self.folder = genotype, network, folder
        self.graph = lower(genotype, network)
        initialise(self.graph, network.input, seed)
        draw = np.random.default_rng(seed)
        inputs = [
            (str(i), draw.standard_normal((1, *network.input)).astype(np.float32)) for i in range(3)
        ]
        self.reference = make_reference(self.graph, canonical_graph(self.graph), inputs)

    def judged(self):
        """The verdict on the graph as it is now."""
        model = canonical_onnx(canonical_graph(self.graph), self.genotype, self.network)
        write_model(model, self.folder / "model.onnx")
        options = BuildOptions((1, *self.network.input), threads=1)
        engine = Engine("model.onnx", {}, "cpu", {"dynamic": True})
        with resolve("onnx").load(self.folder, engine, options) as runner:
            return judge_numbers(runner, self.reference, None)


@settings(max_examples=12, deadline=None)
@given(genotype=genotypes, task=st.sampled_from(["classification", "segmentation"]))
def test_healthy_nets_stay_within_their_tolerance(genotype, task, networks, tmp_path_factory):
    net = Net(genotype, getattr(networks, task), tmp_path_factory.mktemp("healthy"))
    numbers = net.judged()
    assert numbers.verdict == "pass", numbers.reason


@pytest.fixture
def net(genotype, networks, tmp_path):
    return Net(genotype, networks.classification, tmp_path)


def test_the_tolerance_is_not_generous(net):
    """A healthy net uses more than a fiftieth of it, so a hundredfold error cannot hide."""
    worst = net.judged().worst
    assert 0.02 < worst.rms / worst.tolerance < 1


def perturb_epsilon(net):
    """1e-3 for 1e-5, as another framework's batch norm would have it, in one layer."""
    name = next(n for n in net.graph.weights if n.endswith("running_var"))
    net.graph.weights[name] = net.graph.weights[name] + np.float32(1e-3 - 1e-5)


def keep_a_stale_weight(net):
    """One layer as it was a training step of 1e-3 before."""
    name = next(n for n, w in net.graph.weights.items() if w.ndim == 4)
    weight = net.graph.weights[name]
    step = np.random.default_rng(1).standard_normal(weight.shape).astype(np.float32)
    net.graph.weights[name] = weight + np.float32(1e-3) * step * weight.std()


def swap_two_channels(net):
    name = next(n for n, w in net.graph.weights.items() if n.startswith("cell0") and w.ndim == 4)
    swapped = net.graph.weights[name].copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    net.graph.weights[name] = swapped


@pytest.mark.parametrize("fault", [perturb_epsilon, keep_a_stale_weight, swap_two_channels])
def test_small_faults_do_not_fit_into_the_tolerance(net, fault):
    fault(net)
    numbers = net.judged()
    assert numbers.verdict == "fail"
    assert numbers.worst.rms > 10 * numbers.worst.tolerance
