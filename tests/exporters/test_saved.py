"""A saved report, judged again: by the same gate the same verdicts, by a narrower one others."""

import json

import pytest

from compiler.weights import read_weights_file
from datac.documents.report import Latency, PlaceResult
from exporters.build_folder import read_build_genotype, read_manifest
from exporters.check import check
from exporters.check_model import Claim, check_model
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


def timed(result, ms):
    latency = Latency(
        **dict.fromkeys(("median", "p90", "p99"), ms),
        spread=0.0,
        conclusive=True,
        rounds=9,
        round_medians=(ms,) * 9,
        calls=9,
        batch=1,
        device="cpu",
    )
    return result.model_copy(update={"latency_ms": latency})


def test_no_engine_that_fails_is_the_fastest_that_passes(report):
    targets = [timed(result, 1.0 + at) for at, result in enumerate(report.targets)]
    before = report.model_copy(update={"targets": tuple(targets)})
    assert judge_saved(before).fastest.engine == f"{targets[0].target} f32"
    assert judge_saved(judge_saved(before), 1e-3).fastest is None


def test_what_is_explained_and_not_tolerated_is_told_apart(report):
    strict = judge_saved(report, 0.1)
    reasons = [result.reason for result in strict.targets if result.places is not None]
    assert any(" of which 0.15 times is tolerated" in reason for reason in reasons if reason)


def onnx_of(report, **changed):
    """The report with its ONNX engine alone, changed and failed."""
    onnx = next(result for result in report.targets if result.target == "onnx")
    failed = onnx.model_copy(update={"verdict": "fail", "reason": "as it was said"} | changed)
    return report.model_copy(update={"targets": (failed,), "verdict": "fail"})


def places_of(report, **place):
    places = next(result.places for result in report.targets if result.target == "onnx")
    wrong = PlaceResult(place="cell0/node2", **place)
    return places.model_copy(update={"wrong": (wrong,), "worst": wrong, "count_wrong": 1})


def test_a_place_may_fail_alone(report):
    other = onnx_of(report, places=places_of(report, rms=2e-6, predicted=1e-6))
    assert judge_saved(other).targets[0].reason == "as it was said"
    again = judge_saved(other, 1.1)
    assert again.verdict == "fail"
    assert again.targets[0].reason.startswith("cell0/node2 is off by 2e-06 (RMS)")
    assert judge_saved(other, 2.0).targets[0].verdict == "pass"


def test_a_place_whose_kind_is_known_is_one_place(report):
    """It is the worst as well, which says nothing of its kind."""
    places = places_of(report, rms=2e-6, predicted=1e-6)
    named = places.wrong[0].model_copy(update={"kind": "path doubled"})
    other = onnx_of(report, places=places.model_copy(update={"wrong": (named,)}))
    assert judge_saved(other) == other
    again = judge_saved(other, 1.1).targets[0]
    assert again.places.count_wrong == 1
    assert again.reason.endswith('it looks like "path doubled"')


def off(report):
    """Beyond its tolerance by half as well, which a gate twice as wide lets through."""
    onnx = next(result for result in report.targets if result.target == "onnx")
    worst = onnx.outputs[0].model_copy(update={"rms": 1.5 * onnx.outputs[0].tolerance})
    return {"outputs": (worst, *onnx.outputs[1:]), "error": worst}


def test_what_no_tolerance_is_about_stays_a_failure(report):
    structure = report.structure.model_copy(update={"verdict": "fail", "differences": ("x",)})
    assert judge_saved(report.model_copy(update={"structure": structure}), 1e6).verdict == "fail"
    defect = onnx_of(report, defects=("values are NaN",), **off(report))
    for width in (1.0, 2.0, 1e6):
        assert judge_saved(defect, width).verdict == "fail"
    assert judge_saved(defect, 2.0).targets[0].reason == "values are NaN"
    place = onnx_of(report, places=places_of(report, predicted=0.0), **off(report))
    again = judge_saved(place, 1e6)
    assert again.targets[0].reason == (
        "cell0/node2 has values that are not finite, or another shape"
    )
    assert json.loads(again.to_json())["verdict"] == "fail"
    assert judge_saved(onnx_of(report, **off(report)), 2.0).verdict == "pass"


def test_a_model_of_another_tool_is_judged_as_it_was(compiled):
    """Values that it has fused away are no fault of it."""
    folder = compiled[0]
    manifest = read_manifest(folder)
    genotype, network = read_build_genotype(folder, manifest)
    weights = read_weights_file(folder / "weights.safetensors")
    claim = Claim(genotype, network, weights, "w")
    found = check_model(folder / "model.onnx", claim, threads=1)
    (result,) = found.targets
    fused = result.places.model_copy(update={"unseen": ("cell0/node2",)})
    other = found.model_copy(update={"targets": (result.model_copy(update={"places": fused}),)})
    assert judge_saved(other) == other
    assert other.verdict == "pass"
