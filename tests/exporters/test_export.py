"""A compile: what stands in the build, how it is described, and what stays whole when it fails."""

import errno
import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from datac import output_folder
from datac.datasets.dataset import Sample
from datac.datasets.shapes import segmentation
from datac.documents.build_folder import Manifest, SideCar
from datac.documents.read import read_json
from datac.documents.report import Report
from datac.errors import BadInput
from exporters import export
from exporters.check import check
from exporters.export import ODD_CASE, choose_inputs, compile_build
from exporters.reference import load_reference
from exporters.request import Request
from exporters.targets import resolve
from exporters.targets.onnx import OnnxRuntime
from exporters.targets.target import Missing, TargetFailed
from exporters.task import labelled_inputs

CORE = {
    "model.onnx",
    "model.py",
    "runtime.py",
    "weights.safetensors",
    "genotype.json",
    "reference.npz",
}


def listing(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in listing(folder)}


def by_target(report):
    return {result.target: result for result in report.targets}


def test_a_build_holds_what_scripts_rely_on(compiled):
    folder, _ = compiled
    assert listing(folder) == CORE | {
        ".datac.json",
        "manifest.json",
        "report.json",
        "engines/onnx-f32/model.onnx",
        "engines/onnx-f32/engine.json",
        "engines/openvino-f32/model.onnx",
        "engines/openvino-f32/engine.json",
        "engines/torch-f32/model.py",
        "engines/torch-f32/weights.safetensors",
        "engines/torch-f32/genotype.json",
        "engines/torch-f32/engine.json",
    }


def test_the_manifest_digests_every_file_and_says_what_it_came_from(compiled):
    folder, _ = compiled
    files = read_json(folder / "manifest.json", Manifest).files
    assert set(files) == listing(folder) - {".datac.json", "manifest.json", "report.json"}
    for name, file in files.items():
        content = (folder / name).read_bytes()
        assert (file.sha256, file.size_bytes) == (sha256(content).hexdigest(), len(content))
        assert set(file.made_from) <= set(files)
        assert file.made_by
    assert set(files["model.onnx"].made_from) == {"genotype.json", "weights.safetensors"}
    assert files["engines/onnx-f32/model.onnx"].made_from == ("model.onnx",)


@pytest.mark.parametrize("engine", ["onnx-f32", "openvino-f32", "torch-f32"])
def test_a_side_car_describes_its_engine(compiled, genotype, networks, engine):
    folder, report = compiled
    side_car = read_json(folder / "engines" / engine / "engine.json", SideCar)
    content = (folder / "engines" / engine / side_car.engine).read_bytes()
    digest = sha256(content).hexdigest()
    assert side_car.engine_sha256 == digest
    assert by_target(report)[side_car.target].digest == digest
    assert side_car.model_sha256 == sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert side_car.genotype_hash == genotype.hash
    assert side_car.network == networks.classification
    assert side_car.versions
    fixed = engine != "torch-f32"
    assert side_car.input_shape == ((1, 3, 16, 16) if fixed else ("N", 3, "H", "W"))


def test_the_report_has_the_fields_that_scripts_rely_on(compiled):
    folder, report = compiled
    written = json.loads((folder / "report.json").read_text())
    assert written["verdict"] == report.verdict == "pass"
    assert [result["target"] for result in written["targets"]] == ["onnx", "openvino", "torch"]
    for result in written["targets"]:
        assert (result["precision"], result["status"], result["verdict"]) == ("f32", "run", "pass")
        assert result["error"].keys() >= {"max_abs", "rms", "tolerance"}
        assert result["error"]["rms"] <= result["error"]["tolerance"]
        assert result["latency_ms"].keys() >= {"median", "p90", "p99"}
    assert written["structure"]["paths_found"] == written["structure"]["paths_expected"] > 0
    assert read_json(folder / "report.json", Report) == report


def test_the_canonical_onnx_is_judged_at_every_size_of_the_reference(compiled):
    _, report = compiled
    assert report.canonical.verdict == "pass"
    assert {error.input for error in report.canonical.outputs} >= {"seed0-0", ODD_CASE}
    onnx = by_target(report)["onnx"]
    assert ODD_CASE not in {error.input for error in onnx.outputs}, "it takes one size"


def test_the_same_seed_gives_the_same_files(compiled, compile_tiny, tmp_path):
    compile_tiny("onnx")
    for name in CORE:
        assert (tmp_path / "build" / name).read_bytes() == (compiled[0] / name).read_bytes(), name


def test_another_seed_gives_other_weights(compiled, compile_tiny, tmp_path):
    report = compile_tiny(seed=1)
    assert "drawn from seed 1" in report.weights
    name = "weights.safetensors"
    assert (tmp_path / "build" / name).read_bytes() != (compiled[0] / name).read_bytes()


def test_segmentation_with_data_gives_a_metric_for_every_engine(compile_tiny, networks, tmp_path):
    network = networks.segmentation.model_copy(update={"classes": 6, "input": (3, 48, 48)})
    networks.wide = network
    data = labelled_inputs(segmentation(), network, "val", 3)
    report = compile_tiny("onnx", "openvino", "torch", task="wide", data=data)
    assert report.verdict == "pass"
    values = [result.metric.value for result in report.targets]
    assert max(values) - min(values) < 0.001
    assert all(result.metric.agreement > 0.999 for result in report.targets)
    torch_result = by_target(report)["torch"]
    assert report.reference_metric == torch_result.metric
    assert torch_result.metric.agreement == 1
    assert [masks.sample for masks in report.masks] == [s.name for s in data.samples]
    assert set(report.masks[0].predictions) == {"onnx-f32", "openvino-f32", "torch-f32"}
    cases = load_reference(tmp_path / "build" / "reference.npz").cases
    assert [case.name for case in cases] == [
        *(s.name.replace("/", "-") for s in data.samples),
        ODD_CASE,
    ]


def test_eager_torch_is_agreed_with_when_it_is_no_target(compile_tiny, networks, tmp_path):
    networks.wide = networks.segmentation.model_copy(update={"classes": 6})
    data = labelled_inputs(segmentation(), networks.wide, "val", 2)
    report = compile_tiny("onnx", task="wide", data=data)
    assert list(report.masks[0].predictions) == ["torch", "onnx-f32"]
    assert report.reference_metric.agreement == 1
    assert report.reference_metric.value == pytest.approx(report.targets[0].metric.value, abs=1e-3)
    assert report.targets[0].metric.agreement > 0.999
    assert [result.target for result in report.targets] == ["onnx"]
    again = check(tmp_path / "build", data, threads=1)
    assert again.reference_metric == report.reference_metric


@pytest.mark.parametrize("target", ["onnx", "torch"])
def test_a_gpu_that_is_not_here_is_missing_and_the_rest_is_made(
    compile_tiny, build, tmp_path, monkeypatch, target
):
    kind = type(resolve(target))
    absent = Missing("there is no GPU here", "use --device cpu")
    monkeypatch.setattr(kind, "missing_cuda", lambda self: absent)
    report = compile_tiny(target, "openvino", device="cuda", out=tmp_path / "made")
    result = by_target(report)[target]
    assert (result.status, result.verdict, result.reason) == ("missing", None, str(absent))
    assert by_target(report)["openvino"].verdict == "pass"
    assert not (tmp_path / "made/engines" / f"{target}-f32").exists()
    before = contents(build / "engines")
    kept = compile_build(build, Request((target,), build, device="cuda", bench_seconds=0.0))
    assert by_target(kept)[target].status == "missing"
    assert contents(build / "engines") == before


def test_engines_can_stay_open_in_height_and_width(compile_tiny, tmp_path):
    report = compile_tiny("onnx", "openvino", dynamic=True)
    for result in report.targets:
        assert result.verdict == "pass"
        assert ODD_CASE in {error.input for error in result.outputs}
    assert check(tmp_path / "build", threads=1).verdict == "pass"


def test_the_smallest_input_works(compile_tiny, networks):
    networks.dot = networks.classification.model_copy(update={"input": (3, 1, 1)})
    assert compile_tiny("onnx", task="dot").verdict == "pass"


def test_a_missing_platform_is_a_status_and_the_rest_is_made(compile_tiny, tmp_path, monkeypatch):
    absent = Missing("ONNX Runtime is not installed here", "pip install 'datac[cpu]'")
    monkeypatch.setattr(OnnxRuntime, "missing", lambda self: absent)
    report = compile_tiny("onnx", "torch")
    assert by_target(report)["onnx"].status == "missing"
    assert by_target(report)["onnx"].reason == str(absent)
    assert by_target(report)["torch"].verdict == "pass"
    assert listing(tmp_path / "build") >= CORE
    assert not (tmp_path / "build" / "engines" / "onnx-f32").exists()


def test_an_engine_that_cannot_be_built_fails_and_leaves_nothing(
    compile_tiny, tmp_path, monkeypatch
):
    def refuse(self, model, options, folder):
        (folder / "half").write_text("half")
        raise TargetFailed("ONNX Runtime refused model.onnx")

    monkeypatch.setattr(OnnxRuntime, "build", refuse)
    report = compile_tiny("onnx", "torch")
    assert report.verdict == "fail"
    failed = by_target(report)["onnx"]
    assert (failed.status, failed.verdict) == ("failed", "fail")
    assert not (tmp_path / "build" / "engines" / "onnx-f32").exists()
    monkeypatch.undo()
    assert check(tmp_path / "build", threads=1).verdict == "pass", "what was made can be judged"


# ---- from a build ----------------------------------------------------------------------------


def test_a_build_gets_targets_and_keeps_its_other_engines(compile_tiny, build):
    before = contents(build)
    request = Request(("onnx",), build, threads=1, bench_seconds=0.0, dynamic=True)
    report = compile_build(build, request)
    assert set(by_target(report)) == {"onnx", "openvino", "torch"}
    assert report.verdict == "pass"
    after = contents(build)
    assert after.keys() == before.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {
        "manifest.json",
        "report.json",
        "engines/onnx-f32/model.onnx",
        "engines/onnx-f32/engine.json",
    }
    assert "engines/onnx-f32/engine.json" in changed


def test_a_build_can_be_extended_into_another_folder(build, tmp_path):
    before = contents(build)
    out = tmp_path / "other"
    compile_build(build, Request(("onnx",), out, threads=1, bench_seconds=0.0))
    assert contents(build) == before
    assert check(out, threads=1).verdict == "pass"


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.py", "weights.safetensors", "genotype.json", "reference.npz"]
)
def test_a_build_that_was_touched_is_not_extended(build, name):
    with (build / name).open("ab") as file:
        file.write(b" ")
    before = contents(build)
    with pytest.raises(BadInput, match=name):
        compile_build(build, Request(("onnx",), build, threads=1))
    assert contents(build) == before


def test_a_kept_engine_that_was_touched_is_refused(build):
    with (build / "engines/openvino-f32/model.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BadInput, match="openvino-f32"):
        compile_build(build, Request(("onnx",), build, threads=1))


def test_a_folder_that_is_no_build_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not a build"):
        compile_build(tmp_path, Request(("onnx",), tmp_path / "out"))


# ---- what stays whole ------------------------------------------------------------------------


def test_a_folder_that_is_not_datacs_is_refused(compile_tiny, tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="was not written by datac"):
        compile_tiny("onnx")
    assert listing(tmp_path) == {"build/thesis.tex"}


def test_an_unknown_target_is_refused_before_anything_is_written(compile_tiny, tmp_path):
    with pytest.raises(BadInput, match='did you mean "onnx"'):
        compile_tiny("onx")
    assert not listing(tmp_path)


@pytest.mark.parametrize("writes", [0, 1, 3, 5, 7])
def test_a_full_disk_leaves_the_old_build_whole(compile_tiny, build, monkeypatch, writes):
    before, left = contents(build), iter(range(writes))
    write = output_folder.write_beside

    def full(path, content):
        if next(left, None) is None:
            path.with_name("half").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    for module in (export, output_folder):
        monkeypatch.setattr(module, "write_beside", full)
    for module in ("engines", "build_folder", "reference", "targets.specialise"):
        monkeypatch.setattr(f"exporters.{module}.write_beside", full)
    with pytest.raises(OSError, match="No space left"):
        compile_tiny("onnx", seed=3)
    assert contents(build) == before
    assert [path.name for path in build.parent.iterdir()] == ["build"]


def test_a_build_that_breaks_off_leaves_the_old_one_whole(compile_tiny, build, monkeypatch):
    before = contents(build)

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "judge", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compile_tiny("onnx", seed=3)
    assert contents(build) == before
    assert [path.name for path in build.parent.iterdir()] == ["build"]


def test_a_new_build_replaces_the_whole_old_one(compile_tiny, build):
    compile_tiny("onnx", seed=3)
    assert not (build / "engines" / "torch-f32").exists()
    assert check(build, threads=1).verdict == "pass"


# ---- inputs of the reference -----------------------------------------------------------------


def test_seeded_inputs_and_one_of_an_odd_size(networks):
    cases = choose_inputs(networks.classification, None, 5)
    assert [value.shape for _, value in cases] == [(1, 3, 16, 16)] * 4 + [(2, 3, 13, 13)]
    again = choose_inputs(networks.classification, None, 5)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(cases, again, strict=True))


def test_real_inputs_come_evenly_from_the_split(networks):
    network = networks.segmentation.model_copy(update={"classes": 6})
    data = labelled_inputs(segmentation(), network, "val")
    names = [name for name, _ in choose_inputs(network, data, 0)]
    assert names == ["val-0", "val-42", "val-84", "val-127", ODD_CASE]
    few = replace(data, samples=[Sample("a/b", data.samples[0].image, data.samples[0].label)])
    assert [name for name, _ in choose_inputs(network, few, 0)] == ["a-b", ODD_CASE]
