"""A saved report, judged again: by the same gate the same verdicts, by a narrower one others."""

import json

import pytest

from datac.documents.report import PlaceResult
from exporters.check import check
from exporters.saved import judge_saved


@pytest.fixture(scope="module")
def report(compiled):
    return check(compiled[0], threads=1)


def test_by_the_same_gate_nothing_changes(report):
    assert judge_saved(report) == report


def test_a_narrow_gate_fails_what_a_wide_one_passes(report):
    narrow = judge_saved(report, 1e-3)
    assert narrow.verdict == "fail"
    for result in narrow.targets:
        assert result.verdict == "fail"
        assert "is off by" in result.reason
    assert judge_saved(narrow, 1e3).verdict == "pass"


def test_a_place_may_fail_alone(report):
    onnx = next(result for result in report.targets if result.target == "onnx")
    wrong = PlaceResult(place="cell0/node2", rms=2e-6, predicted=1e-6)
    places = onnx.places.model_copy(update={"wrong": (wrong,), "worst": wrong})
    damaged = onnx.model_copy(update={"places": places, "verdict": "fail", "reason": "once"})
    other = report.model_copy(update={"targets": (damaged,)})
    again = judge_saved(other)
    assert again.verdict == "fail"
    assert again.targets[0].reason.startswith("cell0/node2 is off by 2e-06 (RMS)")
    assert judge_saved(other, 2.0).targets[0].verdict == "pass"


def test_what_no_tolerance_is_about_stays_a_failure(report):
    structure = report.structure.model_copy(update={"verdict": "fail", "differences": ("x",)})
    assert judge_saved(report.model_copy(update={"structure": structure}), 1e6).verdict == "fail"
    onnx = report.targets[0].model_copy(update={"verdict": "fail", "reason": "values are NaN"})
    again = judge_saved(report.model_copy(update={"targets": (onnx,)}), 1e6)
    assert again.targets[0].reason == "values are NaN"
    assert json.loads(again.to_json())["verdict"] == "fail"
