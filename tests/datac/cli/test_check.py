"""`datac check`: the gate for CI."""

import json
from xml.etree import ElementTree

import onnx
import pytest

from datac.cli import run
from datac.documents.report import Report
from datac.output_folder import mark

CHECK = ("check", "build", "--threads", "1")


def overwrite_digest(folder, name):
    from hashlib import sha256

    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def damage(folder):
    """A max pooling of one path pads on one side only; the manifest is made to agree."""
    model = onnx.load(folder / "model.onnx")
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    pads = next(attribute for attribute in pool.attribute if attribute.name == "pads")
    pads.ints[:] = [0, 0, 2, 2]
    onnx.save(model, folder / "model.onnx")
    overwrite_digest(folder, "model.onnx")
    return pool.name.rpartition("/")[0]


def test_a_sound_build_passes_and_is_not_touched(build, capsys):
    before = {path: path.stat().st_mtime_ns for path in build.rglob("*")}
    assert run([*CHECK]) == 0
    assert "PASS" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in build.rglob("*")} == before


def test_json_is_the_report_and_nothing_else(build, capsys):
    assert run([*CHECK, "--json"]) == 0
    report = Report.model_validate_json(capsys.readouterr().out)
    assert report.verdict == "pass"
    assert report.name == "build"
    assert all(target.latency_ms is None for target in report.targets)


def test_it_runs_without_torch(build, without_torch):
    done = without_torch(*CHECK, "--json")
    assert done.returncode == 0, done.stderr
    report = Report.model_validate_json(done.stdout)
    results = {result.target: result for result in report.targets}
    assert (results["onnx"].status, results["onnx"].verdict) == ("run", "pass")
    assert (results["torch"].status, results["torch"].verdict) == ("built", None)
    assert "datac[search]" in results["torch"].reason


def test_a_damaged_model_is_1_and_the_path_is_named(build, capsys):
    path = damage(build)
    assert run([*CHECK]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert output.startswith("FAIL")
    assert path in output
    assert run([*CHECK, "--json"]) == 1
    differences = Report.model_validate_json(capsys.readouterr().out).structure.differences
    assert any(path in difference for difference in differences)


@pytest.mark.parametrize("name", ["engines/onnx-f32/model.onnx", "manifest.json"])
def test_a_touched_file_is_2(build, capsys, name):
    with (build / name).open("ab") as file:
        file.write(b"\0")
    assert run([*CHECK]) == 2
    captured = capsys.readouterr()
    assert name in captured.err.splitlines()[-1]
    assert not captured.out


def test_bad_input_goes_before_a_failed_gate(build):
    damage(build)
    (build / "engines/torch-f32/model.py").write_text("import this\n")
    assert run([*CHECK]) == 2


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_build_is_2(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert run(["check", name]) == 2
    assert f"{name} is not a build" in capsys.readouterr().err


def test_data_that_does_not_fit_is_2(build, capsys):
    assert run([*CHECK, "--data", "shapes"]) == 2
    assert "labelled for segmentation" in capsys.readouterr().err


def test_a_gate_that_judged_nothing_is_3_and_says_why(build, capsys):
    from dataclasses import replace

    from exporters.reference import load_reference

    reference = load_reference(build / "reference.npz")
    replace(reference, cases=reference.cases[-1:]).save(build / "reference.npz")
    overwrite_digest(build, "reference.npz")
    assert run([*CHECK]) == 3
    output = " ".join(capsys.readouterr().out.split())
    assert output.startswith("INCONCLUSIVE onnx f32 and openvino f32 gave no clear answer: ")
    assert run(["bench", "build"]) == 2
    assert "has no input of size 1x3x16x16; compile again" in capsys.readouterr().err


def test_without_any_runtime_it_is_3(build, monkeypatch, capsys):
    from exporters.targets.onnx import OnnxRuntime
    from exporters.targets.openvino import OpenVINO
    from exporters.targets.target import Missing
    from exporters.targets.torch import Torch

    for target in (OnnxRuntime, OpenVINO, Torch):
        monkeypatch.setattr(target, "missing", lambda self: Missing("it is absent", "get it"))
    assert run([*CHECK, "--json"]) == 3
    assert Report.model_validate_json(capsys.readouterr().out).verdict == "inconclusive"


@pytest.mark.parametrize("option", [("--split", "train"), ("--samples", "3")])
def test_an_option_without_effect_is_refused(build, capsys, option):
    assert run([*CHECK, *option]) == 2
    assert f"{option[0]} says which data to measure on; give --data" in capsys.readouterr().err


def test_more_threads_than_cores_are_refused(build, capsys):
    assert run(["check", "build", "--threads", "100000"]) == 2
    assert "--threads 100000: this machine has" in capsys.readouterr().err


def test_a_deleted_model_py_is_missing(build, capsys):
    (build / "model.py").unlink()
    assert run([*CHECK]) == 2
    assert "model.py is missing; compile again" in capsys.readouterr().err


# ---- other forms ---------------------------------------------------------------------------------

MODEL = ("build/model.onnx", "--genotype", "build/genotype.json")
WEIGHTS = ("--weights", "build/weights.safetensors")


def test_an_onnx_is_checked_by_itself(build, capsys):
    assert run(["check", *MODEL, *WEIGHTS, "--threads", "1"]) == 0
    assert "PASS  onnx f32 agrees with the float64 reference" in capsys.readouterr().out
    damage(build)
    assert run(["check", *MODEL, *WEIGHTS, "--threads", "1"]) == 1
    assert "nothing in the model computes this" in capsys.readouterr().out


def test_the_weights_of_an_onnx_may_be_a_childs_folder(build, capsys):
    assert run(["check", *MODEL, "--weights", "build", "--threads", "1"]) == 0
    mark(build, "child", finished=False)
    assert run(["check", *MODEL, "--weights", "build"]) == 2
    assert "build holds an unfinished child" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--junit", "--save-inputs", "--save-outputs"])
def test_a_document_of_datac_is_not_replaced(build, capsys, option):
    path = build / "genotype.json"
    before = path.read_bytes()
    assert run([*CHECK, option, str(path)]) == 2
    assert f"{path} is a document (datac.genotype/1) and is not replaced" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_junit_and_markdown_are_written_for_ci(build, capsys, tmp_path):
    assert run([*CHECK, "--markdown", "--junit", str(tmp_path / "gate.xml")]) == 0
    assert capsys.readouterr().out.startswith("### ✅ datac: pass\n")
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()[0]
    assert suite.get("failures") == "0"
    damage(build)
    assert run([*CHECK, "--junit", str(tmp_path / "gate.xml")]) == 1
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()[0]
    assert int(suite.get("failures")) >= 1


def test_a_saved_report_is_judged_again(build, capsys):
    assert run([*CHECK, "--json"]) == 0
    (build / "saved.json").write_text(capsys.readouterr().out)
    saved = ("check", "--saved", "build/saved.json")
    assert run([*saved]) == 0
    assert run([*saved, "--tolerance", "0.001"]) == 1
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a BUILD, or a report by --saved"),
        (("build", "--tolerance", "2"), "--tolerance judges a saved report"),
        (("build", "--json", "--markdown"), "choose one"),
        (("--saved", "build/report.json", "--threads", "1"), "--saved runs nothing"),
        (("--saved", "build/model.onnx"), "build/model.onnx"),
        (("build/model.onnx",), "give --genotype and --weights with it"),
        (MODEL, "is checked with both --genotype and --weights"),
        (("build/model.onnx", "--genotype", "data-m4", *WEIGHTS), "names no network"),
    ],
)
def test_forms_that_do_not_go_together_are_refused(build, capsys, arguments, said):
    assert run(["check", *arguments]) == 2
    assert said in capsys.readouterr().err
