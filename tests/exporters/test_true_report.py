"""A report that was edited so that it contradicts its build, or itself, is refused."""

import json

import pytest
from safetensors.numpy import load_file, save_file

from datac.cli import run
from exporters.true_report import WAY_OUT


def say_fail(report):
    report["targets"][0]["verdict"] = "fail"


def say_inconclusive(report):
    report["verdict"] = "inconclusive"


def tell_of_another_file(report):
    report["targets"][0]["digest"] = "0" * 64


def tell_of_another_model(report):
    report["canonical"]["digest"] = "0" * 64


def hide_an_error(report):
    """Its figures are those of a failure; its verdict is not."""
    for error in (report["targets"][0]["error"], *report["targets"][0]["outputs"]):
        error["rms"] = 1.0


def tell_of_another_genotype(report):
    report["genotype"]["cells"]["normal"]["nodes"][0]["paths"].pop()


def tell_of_another_hash(report):
    report["genotype_hash"] = "0" * 64


def hide_an_engine(report):
    del report["targets"][1]


def say_that_what_failed_passes(report):
    report["targets"][0] |= {"status": "failed", "outputs": [], "verdict": "pass"}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (say_fail, "onnx f32: it says fail, and its figures pass"),
        (say_inconclusive, "it says inconclusive, and its own figures say pass"),
        (tell_of_another_file, "onnx f32: it tells of a file that the manifest has not"),
        (tell_of_another_model, "model.onnx: it tells of a file that the manifest has not"),
        (hide_an_error, "it says pass, and its own figures say fail"),
        (tell_of_another_genotype, "its genotype has another hash than it says"),
        (tell_of_another_hash, "its genotype has another hash than it says"),
        (hide_an_engine, "it says nothing of engines/openvino-f32"),
        (say_that_what_failed_passes, "onnx f32: it says pass, and its figures fail"),
    ],
)
def test_a_report_that_contradicts_its_build_is_named(build, capsys, edit, says):
    path = build / "report.json"
    report = json.loads(path.read_text())
    edit(report)
    path.write_text(json.dumps(report))
    assert run(["check", str(build), "--threads", "1"]) == 2
    said = f"datac: {path} contradicts its build ({says}); {WAY_OUT}"
    assert said in capsys.readouterr().err.splitlines()


def test_one_that_cannot_be_read_is_named_and_none_at_all_is_no_fault(build, capsys):
    (build / "report.json").write_text("{")
    assert run(["check", str(build), "--threads", "1"]) == 2
    (sentence,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("datac:")]
    assert "report.json" in sentence
    assert sentence.endswith(WAY_OUT)
    (build / "report.json").unlink()
    assert run(["check", str(build), "--threads", "1"]) == 0


def test_a_report_of_another_datac_and_one_of_a_build_that_fails_do_not_matter(
    build, update_manifest
):
    (build / "report.json").write_text("{")
    manifest = json.loads((build / "manifest.json").read_text())
    (build / "manifest.json").write_text(json.dumps(manifest | {"datac_version": "0.0.1"}))
    assert run(["check", str(build), "--threads", "1"]) == 0
    (build / "manifest.json").write_text(json.dumps(manifest))
    weights = load_file(build / "weights.safetensors")
    name = next(name for name in weights if name.endswith("weight"))
    save_file(weights | {name: 2 * weights[name]}, build / "weights.safetensors")
    update_manifest(build, "weights.safetensors")
    assert run(["check", str(build), "--threads", "1"]) == 1
