"""A report that was edited so that it contradicts its build, or itself, is refused."""

import json

import pytest

from datac.cli import run


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


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (say_fail, "onnx f32: it says fail, and its figures pass"),
        (say_inconclusive, "it says inconclusive, and its own figures say pass"),
        (tell_of_another_file, "onnx f32: it tells of a file that is not in the build"),
        (tell_of_another_model, "model.onnx: it tells of a file that is not in the build"),
        (hide_an_error, "it says pass, and its own figures say fail"),
        (tell_of_another_genotype, "it is of another genotype"),
    ],
)
def test_a_report_that_contradicts_its_build_is_named(build, capsys, edit, says):
    path = build / "report.json"
    report = json.loads(path.read_text())
    edit(report)
    path.write_text(json.dumps(report))
    assert run(["check", str(build), "--threads", "1"]) == 2
    said = f"datac: {path} contradicts its build ({says}); compile again, or remove it"
    assert said in capsys.readouterr().err.splitlines()


def test_one_that_cannot_be_read_is_named_and_none_at_all_is_no_fault(build, capsys):
    (build / "report.json").write_text("{")
    assert run(["check", str(build), "--threads", "1"]) == 2
    (sentence,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("datac:")]
    assert "report.json" in sentence
    (build / "report.json").unlink()
    assert run(["check", str(build), "--threads", "1"]) == 0
