"""The search for what int8 must leave alone: it finds the part that was made fragile."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compiler.interpreter import Interpreter
from compiler.weights import read_weights_file
from datac.cli import run
from datac.datasets import open_dataset
from datac.errors import BadInput
from exporters import bisect as bisect_module
from exporters.bisect import Setting, bisect, parts_of, rank
from exporters.build_folder import read_manifest
from exporters.canonical import bound_graph
from exporters.export import compile_genotype
from exporters.quantisation import Calibration, quantise
from exporters.request import Request
from exporters.subject import open_subject
from exporters.targets import resolve
from exporters.task import labelled_inputs

FRAGILE = "normal/node2/path1"


@pytest.fixture(scope="module")
def fragile(genotype, networks, tmp_path_factory):
    """A build of which one path of the normal cell needs more than 8 bits: (folder, setting).

    Half of its channels in the middle are a thousand times larger than the others, and the next
    convolution evens that out: the same function, for which one step for all channels is coarse.
    """
    base = tmp_path_factory.mktemp("bisect")
    network = networks.segmentation.model_copy(update={"classes": 6})
    request = Request(("onnx",), base / "plain", threads=1, bench_seconds=0.0)
    compile_genotype(genotype, network, None, request)
    weights = load_file(base / "plain" / "weights.safetensors")
    for cell in (0,):
        at = f"cell{cell}.node2.path1."
        factor = np.ones(4, np.float32)
        factor[::2] = 1000.0
        for name in ("weight", "bias"):
            weights[f"{at}norm0.{name}"] = weights[f"{at}norm0.{name}"] * factor
        second = f"{at}depthwise1.weight"
        weights[second] = weights[second] / factor[:, None, None, None]
    save_file(weights, base / "weights.safetensors")
    dataset = open_dataset("shapes")
    train = labelled_inputs(dataset, network, "train", 4)
    images = tuple(train.input(sample) for sample in train.samples)
    data = labelled_inputs(dataset, network, "val", 4)
    request = Request(("onnx",), base / "build", data=data, threads=1, bench_seconds=0.0)
    compile_genotype(genotype, network, base / "weights.safetensors", request)
    return base / "build", Setting("onnx", data, Calibration(images), 0.01, threads=1)


def test_parts_are_paths_of_the_two_cells_and_hold_every_convolution(fragile):
    subject = open_subject(fragile[0], read_manifest(fragile[0]))
    parts = parts_of(subject)
    assert {"stem", "head", "normal/preprocess0", FRAGILE, "reduction/node3/path0"} <= {*parts}
    assert len(parts) < 15
    assert len([name for names in parts.values() for name in names]) == len(
        {name for names in parts.values() for name in names}
    )


def test_the_fragile_path_is_ranked_first(fragile):
    folder, setting = fragile
    subject = open_subject(folder, read_manifest(folder))
    plan = quantise(subject.graph, subject.expected, resolve("onnx").int8, setting.calibration)
    parts = rank(subject, plan, setting.calibration.inputs[0], lambda *_: None)
    assert parts[0].name == FRAGILE
    assert parts[0].error > 1.5 * max(part.error for part in parts[1:])
    assert sum(part.share for part in parts) == pytest.approx(1)


class Metrics:
    """In the place of engines: a metric that says how many parts int8 must leave alone."""

    def __init__(self, needed):
        self.needed, self.built = needed, []

    def metric(self, search, plan):
        if plan.quantisation is None:
            return 0.8
        subject = search._subject
        kept = len({*plan.quantisation.kept})
        count = next(
            n
            for n in range(len(search._parts) + 1)
            if len(
                bisect_module.kept_convolutions(
                    subject.graph, subject.network, [p.name for p in search._parts[:n]]
                )
            )
            == kept
        )
        self.built.append(count)
        return 0.8 if count >= self.needed else 0.5


def in_place_of(metrics):
    """A function, which a class binds, where it would not bind an object's method."""

    def metric(search, plan):
        return metrics.metric(search, plan)

    return metric


@pytest.mark.parametrize("needed", range(9))
def test_the_fewest_parts_are_found_with_a_handful_of_engines(fragile, monkeypatch, needed):
    metrics = Metrics(needed)
    monkeypatch.setattr(bisect_module._Search, "_metric", in_place_of(metrics))
    found = bisect(*fragile)
    assert len(found.kept) == needed
    assert found.kept == tuple(part.name for part in found.parts[:needed])
    assert len(metrics.built) == len({*metrics.built}) <= 7
    assert found.control == 0.8


def test_trials_that_are_known_are_not_built_again(fragile, monkeypatch):
    metrics = Metrics(3)
    monkeypatch.setattr(bisect_module._Search, "_metric", in_place_of(metrics))
    states = []
    first = bisect(*fragile, save=states.append)
    assert [len(state.trials) for state in states] == list(range(1, len(first.trials) + 1))
    assert all(state.kept is None for state in states)
    metrics.built.clear()
    assert bisect(*fragile, known=first.trials) == first
    assert metrics.built == []


def test_the_file_of_another_target_is_not_replaced(fragile, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bisect_module._Search, "_metric", in_place_of(Metrics(0)))
    out = tmp_path / "bisection.json"
    out.write_text(bisect(*fragile).to_json())
    words = ["bisect", str(fragile[0]), "--data", "shapes", "--samples", "2", "--out", str(out)]
    before = out.read_bytes()
    assert run([*words, "--target", "openvino"]) == 2
    assert "is of the target onnx; name another file by --out" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_real_engines_tell_that_all_may_be_int8_where_much_is_allowed(fragile):
    folder, setting = fragile
    found = bisect(folder, Setting("onnx", setting.data, setting.calibration, 1.0, threads=1))
    assert found.kept == ()
    assert len(found.trials) == 1


def test_a_target_without_int8_is_refused(fragile):
    folder, setting = fragile
    with pytest.raises(BadInput, match="torch has no int8 engines"):
        bisect(folder, Setting("torch", setting.data, setting.calibration, 1.0))


def test_the_fragile_build_is_the_same_function(fragile, genotype, networks):
    """The premise of the tests above."""
    plain = fragile[0].parent / "plain"
    network = networks.segmentation.model_copy(update={"classes": 6})
    x = np.random.default_rng(1).standard_normal((1, *network.input))
    answers = [
        Interpreter(
            bound_graph(genotype, network, read_weights_file(at / "weights.safetensors"), "w")
        ).run({"input": x})["logits"]
        for at in (plain, fragile[0])
    ]
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-5)
