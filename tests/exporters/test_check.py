"""The gate on builds that were damaged, with and without a manifest that was made to agree."""

import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from datac.datasets import open_dataset
from datac.datasets.preprocess import prepared_network
from datac.errors import BadInput
from datac.report.wording import reason
from exporters import check as gate
from exporters.check import check
from exporters.export import ODD_CASE, compile_genotype
from exporters.reference import load_reference
from exporters.request import Request
from exporters.targets.onnx import CpuRunner, OnnxRuntime
from exporters.targets.target import TargetFailed
from exporters.task import labelled_inputs

CONV = ("cell0.node2.path0.", "cell0.node2.path1.")


def results(report):
    return {result.target: result for result in report.targets}


def edit(folder, change):
    path = folder / "model.onnx"
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def node_named(model, part, op_type):
    return next(n for n in model.graph.node if part in n.name and n.op_type == op_type)


def remove_a_path(model):
    """Node 2 of cell 0 sums one path less; what only that path needed goes with it."""
    gone = "cell0/node2/path2/"
    add = next(
        n for n in model.graph.node if n.op_type == "Add" and any(gone in i for i in n.input)
    )
    (stays,) = (name for name in add.input if gone not in name)
    model.graph.node.remove(add)
    for node in [n for n in model.graph.node if n.name.startswith(gone)]:
        model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = [stays if name == add.output[0] else name for name in node.input]


def swap_two_weights(model):
    """The same place in two paths with the same operation: every shape fits."""
    first, second = (
        sorted(
            (t for t in model.graph.initializer if t.name.startswith(path) and len(t.dims) == 4),
            key=lambda tensor: tensor.name,
        )[0]
        for path in CONV
    )
    assert first.dims == second.dims
    first.raw_data, second.raw_data = second.raw_data, first.raw_data


def shift_the_padding(model):
    pool = node_named(model, "cell0/node2/path2", "MaxPool")
    pads = next(a for a in pool.attribute if a.name == "pads")
    del pads.ints[:]
    pads.ints.extend([0, 0, 2, 2])


def widen_the_padding(model):
    """Shapes no longer fit, so that the runtime itself breaks."""
    pool = node_named(model, "cell0/node2/path2", "MaxPool")
    pads = next(a for a in pool.attribute if a.name == "pads")
    del pads.ints[:]
    pads.ints.extend([2, 2, 2, 2])


def rename_the_input(model):
    model.graph.input[0].name = "image"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == "input":
                node.input[index] = "image"


def fix_the_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def spoil_a_weight(model):
    tensor = next(t for t in model.graph.initializer if t.name.startswith(CONV[0]))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


DAMAGES = [
    (remove_a_path, "cell0/node2/path2"),
    (swap_two_weights, "cell0/node2/path0"),
    (shift_the_padding, "cell0/node2/path2"),
    (widen_the_padding, "cell0/node2/path2"),
    (spoil_a_weight, "cell0/node2/path0"),
    (rename_the_input, "image"),
    (fix_the_batch, "input"),
]


def test_a_sound_build_passes_and_nothing_is_written(build):
    before = {path: path.stat().st_mtime_ns for path in build.rglob("*")}
    report = check(build, threads=1)
    assert report.verdict == "pass"
    assert {result.target for result in report.targets} == {"onnx", "openvino", "torch"}
    assert all(result.status == "run" for result in report.targets)
    assert report.name == "build"
    assert {path: path.stat().st_mtime_ns for path in build.rglob("*")} == before


@pytest.mark.parametrize(("damage", "named"), DAMAGES, ids=[d.__name__ for d, _ in DAMAGES])
def test_a_damaged_model_fails_and_the_place_is_named(build, update_manifest, damage, named):
    edit(build, damage)
    update_manifest(build, "model.onnx")
    report = check(build, threads=1)
    assert report.verdict == "fail"
    assert report.structure.verdict == "fail"
    assert any(named in sentence for sentence in report.structure.differences)


@pytest.mark.parametrize("damage", [remove_a_path, swap_two_weights, shift_the_padding])
def test_numbers_alone_see_the_damage_too(build, damage):
    edit(build, damage)
    canonical = check(build, threads=1).canonical
    assert canonical.verdict == "fail"
    assert canonical.error.rms > canonical.error.tolerance


@pytest.mark.parametrize("damage", [widen_the_padding, rename_the_input, fix_the_batch])
def test_a_model_that_breaks_the_runtime_is_a_verdict(build, damage):
    edit(build, damage)
    canonical = check(build, threads=1).canonical
    assert (canonical.status, canonical.verdict) == ("failed", "fail")
    assert canonical.digest


def test_a_file_that_is_no_onnx_is_bad_input(build, update_manifest):
    (build / "model.onnx").write_bytes(b"not a model")
    update_manifest(build, "model.onnx")
    with pytest.raises(BadInput, match="not an ONNX file"):
        check(build, threads=1)


# ---- what must be the manifest's -------------------------------------------------------------


@pytest.fixture
def never_loaded(monkeypatch):
    """ONNX Runtime with no engine but the canonical model."""
    load = OnnxRuntime.load

    def guarded(self, folder, engine, options):
        assert "engines" not in folder.parts, "an engine was loaded"
        return load(self, folder, engine, options)

    monkeypatch.setattr(OnnxRuntime, "load", guarded)


@pytest.mark.parametrize(
    "name",
    [
        "engines/onnx-f32/model.onnx",
        "engines/onnx-f32/engine.json",
        "weights.safetensors",
        "genotype.json",
        "reference.npz",
    ],
)
def test_a_trusted_file_that_differs_is_bad_input(build, name, never_loaded):
    with (build / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BadInput, match=name):
        check(build, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "engine.json"])
def test_an_engine_whose_file_is_gone_is_bad_input(build, name):
    (build / "engines/onnx-f32" / name).unlink()
    with pytest.raises(BadInput, match=f"onnx-f32/{name} is missing"):
        check(build, threads=1)


def test_a_file_slipped_in_beside_an_engine_is_bad_input(build):
    (build / "engines/torch-f32/sitecustomize.py").write_text("")
    with pytest.raises(BadInput, match=r"sitecustomize.py is not listed"):
        check(build, threads=1)


def test_an_engine_that_the_side_car_does_not_know_is_not_loaded(
    build, update_manifest, never_loaded
):
    name = "engines/onnx-f32/model.onnx"
    with (build / name).open("ab") as file:
        file.write(b"\n")
    update_manifest(build, name)
    with pytest.raises(BadInput, match=r"not the engine that engine\.json describes"):
        check(build, threads=1)


# ---- model.py --------------------------------------------------------------------------------


def side_effect(trace):
    return f"\nfrom pathlib import Path as P\nP({str(trace)!r}).touch()\n".encode()


def test_a_foreign_model_py_fails_the_gate(build, update_manifest, tmp_path):
    trace = tmp_path / "trace"
    with (build / "model.py").open("ab") as file:
        file.write(side_effect(trace))
    update_manifest(build, "model.py")
    report = check(build, threads=1)
    assert report.verdict == "fail"
    assert any("model.py" in sentence for sentence in report.structure.differences)
    assert not trace.exists()


def test_a_model_py_that_is_no_text_fails_the_gate(build):
    (build / "model.py").write_bytes(b"\xff\xfe\x00")
    assert check(build, threads=1).verdict == "fail"


def test_the_torch_engine_never_runs_foreign_code(build, update_manifest, tmp_path):
    trace = tmp_path / "trace"
    name = "engines/torch-f32/model.py"
    with (build / name).open("ab") as file:
        file.write(side_effect(trace))
    update_manifest(build, name)
    torch_result = results(check(build, threads=1))["torch"]
    assert (torch_result.status, torch_result.verdict) == ("failed", "fail")
    assert "engines/torch-f32/model.py is not that of the build" in torch_result.reason
    assert not trace.exists()


def test_running_leaves_no_bytecode_behind(build, monkeypatch):
    """A `__pycache__` beside `model.py` would make the next check refuse the engine."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for _ in range(2):
        assert check(build, threads=1).verdict == "pass"
    assert not list(build.rglob("__pycache__"))


# ---- verdicts --------------------------------------------------------------------------------


@pytest.fixture
def answers(monkeypatch):
    """answers(change): what ONNX Runtime answers is changed on its way."""
    run = CpuRunner.run

    def distort(change):
        monkeypatch.setattr(
            CpuRunner,
            "run",
            lambda self, inputs: {k: change(v) for k, v in run(self, inputs).items()},
        )

    return distort


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v * np.float32(1.001), "logits is off by"),
        (lambda v: np.where(v == v.max(), np.nan, v), "NaN or infinite"),
        (lambda v: np.where(v == v.max(), np.inf, v), "NaN or infinite"),
        (lambda v: v[:, :-1], "has shape"),
        (lambda v: np.roll(v, 1, axis=1), "logits is off by"),
    ],
)
def test_an_engine_that_answers_wrongly_fails(build, answers, change, said):
    answers(change)
    report = check(build, threads=1)
    onnx_result = next(result for result in report.targets if result.target == "onnx")
    assert report.verdict == onnx_result.verdict == "fail"
    assert said in onnx_result.reason
    others = [result for result in report.targets if result.target != "onnx"]
    assert all(result.verdict == "pass" for result in others)


def test_without_a_runtime_the_verdict_is_inconclusive(build, monkeypatch):
    subject = gate.open_subject(build, gate.read_manifest(build))
    absent = subject.structure.model_copy()
    missing = gate.resolve("trt").missing() or "gone"
    monkeypatch.setattr(OnnxRuntime, "missing", lambda self: missing)
    report = gate.judge(replace(subject, structure=absent), (), None, command="")
    assert report.canonical.status == "missing"
    assert report.verdict == "inconclusive"


def test_an_engine_that_no_input_fits_is_inconclusive(build, update_manifest):
    """A gate that judged nothing is no gate that passed."""
    reference = load_reference(build / "reference.npz")
    odd = tuple(case for case in reference.cases if case.name == ODD_CASE)
    replace(reference, cases=odd).save(build / "reference.npz")
    update_manifest(build, "reference.npz")
    report = check(build, threads=1)
    assert results(report)["torch"].verdict == report.canonical.verdict == "pass"
    assert results(report)["onnx"].verdict == "inconclusive"
    assert report.verdict == "inconclusive"
    sentence = reason(report)
    assert sentence.startswith("onnx f32 and openvino f32 gave no clear answer: ")
    assert "the reference has no input of size 1x3x16x16" in sentence


def test_an_engine_that_does_not_load_fails_and_the_others_are_judged(build, monkeypatch):
    load = OnnxRuntime.load

    def refuse(self, folder, engine, options):
        if "engines" in folder.parts:
            raise TargetFailed("ONNX Runtime refused model.onnx")
        return load(self, folder, engine, options)

    monkeypatch.setattr(OnnxRuntime, "load", refuse)
    report = check(build, threads=1)
    status = {result.target: (result.status, result.verdict) for result in report.targets}
    assert status["onnx"] == ("failed", "fail")
    assert status["torch"] == ("run", "pass")
    assert report.verdict == "fail"


# ---- the task ------------------------------------------------------------------------------------


@pytest.fixture
def shapes(genotype, networks, tmp_path):
    """(build in two precisions, labelled data)."""
    dataset = open_dataset("shapes")
    network = prepared_network(
        networks.segmentation.model_copy(update={"classes": len(dataset.classes.names)}), dataset
    )
    data = labelled_inputs(dataset, network, "val", 6)
    settings = {"precisions": ("f32", "f16"), "threads": 1, "bench_seconds": 0.0, "data": data}
    compile_genotype(genotype, network, None, Request(("onnx",), tmp_path / "build", **settings))
    return tmp_path / "build", data


def test_decisions_that_rounding_turns_are_no_fault(shapes):
    report = check(*shapes, threads=1)
    assert report.verdict == "pass"
    single, half = (result.metric.disagreement for result in report.targets)
    assert single.count <= half.count
    assert half.count > 0
    assert half.clear == single.clear == 0
    assert half.largest_margin < 3


def test_what_is_wrong_on_other_images_than_the_references_shows_in_the_decisions(
    shapes, monkeypatch
):
    build, data = shapes
    known = [case.input for case in load_reference(build / "reference.npz").cases]
    run = CpuRunner.run

    def distorted(self, inputs):
        answers = run(self, inputs)
        x = inputs["input"]
        if any(case.shape == x.shape and np.array_equal(case, x) for case in known):
            return answers
        return answers | {"logits": np.roll(answers["logits"], 1, axis=1)}

    monkeypatch.setattr(CpuRunner, "run", distorted)
    report = check(build, data, threads=1)
    assert report.verdict == "fail"
    for result in report.targets:
        assert result.metric.disagreement.clear > 0
        assert "that differ from torch's have margins up to" in result.reason
