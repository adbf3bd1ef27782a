"""Engines of open sizes that were declared: judged and timed at all three."""

import json

import onnx
import pytest

from datac.documents.profile import Profile
from datac.errors import BadInput
from exporters.check import check
from exporters.export import compile_build
from exporters.request import Request
from exporters.targets.onnx import CpuRunner

ONNX_SIDE_CAR = "engines/onnx-f32/engine.json"
PROFILE = Profile(min=(1, 3, 9, 11), opt=(1, 3, 16, 16), max=(3, 3, 20, 33))


def test_a_profile_is_judged_and_timed_at_its_three_sizes(compile_tiny, tmp_path):
    report = compile_tiny("onnx", "openvino", "torch", profile=PROFILE, bench_seconds=0.5)
    assert report.verdict == "pass"
    for result in report.targets:
        seen = {error.input for error in result.outputs}
        assert {"size-1x3x9x11", "size-3x3x20x33", "seed0-0"} <= seen
        assert [sized.shape for sized in result.latency_at] == [PROFILE.min, PROFILE.max]
        assert [sized.latency_ms.batch for sized in result.latency_at] == [1, 3]
    side_car = json.loads((tmp_path / "build/engines/onnx-f32/engine.json").read_text())
    assert side_car["profile"]["max"] == [3, 3, 20, 33]
    assert "--profile 1x3x9x11,1x3x16x16,3x3x20x33" in side_car["rebuild"]
    again = check(tmp_path / "build", threads=1)
    assert again.verdict == "pass"
    assert {"size-3x3x20x33"} <= {error.input for error in again.targets[0].outputs}


def test_a_build_gets_a_profile_later_and_other_engines_stay_of_one_size(build):
    before = (build / ONNX_SIDE_CAR).read_bytes()
    request = Request(("openvino",), build, threads=1, bench_seconds=0.0, profile=PROFILE)
    report = compile_build(build, request)
    assert report.verdict == "pass"
    targets = {result.target: result for result in report.targets}
    wide, fixed = targets["openvino"], targets["onnx"]
    assert "size-3x3x20x33" in {error.input for error in wide.outputs}
    assert "size-3x3x20x33" not in {error.input for error in fixed.outputs}
    assert (build / ONNX_SIDE_CAR).read_bytes() == before
    assert check(build, threads=1).verdict == "pass"


def test_a_fault_at_the_largest_size_alone_fails(compile_tiny, tmp_path, monkeypatch):
    def break_when_wide(self, inputs):
        answers = answer(self, inputs)
        wide = inputs["input"].shape == PROFILE.max
        return {key: value * (1.001 if wide else 1) for key, value in answers.items()}

    answer = CpuRunner.run
    monkeypatch.setattr(CpuRunner, "run", break_when_wide)
    report = compile_tiny("onnx", profile=PROFILE)
    (result,) = report.targets
    assert result.verdict == "fail"
    assert "on input size-3x3x20x33" in result.reason


def test_a_profile_without_the_networks_own_size_is_refused(compile_tiny):
    small = Profile(min=(1, 3, 4, 4), opt=(1, 3, 8, 8), max=(1, 3, 12, 12))
    with pytest.raises(BadInput, match="does not hold the network's own input 1x3x16x16; widen"):
        compile_tiny("onnx", profile=small)
    vast = PROFILE.model_copy(update={"max": (64, 3, 4096, 4096)})
    with pytest.raises(BadInput, match="declare a smaller one"):
        compile_tiny("onnx", profile=vast)


def test_what_a_profile_holds_fixed_is_fixed_in_the_engine(compile_tiny, tmp_path):
    """An open batch costs latency that one of a known batch does not."""
    one = Profile(min=(1, 3, 9, 16), opt=(1, 3, 16, 16), max=(1, 3, 20, 16))
    report = compile_tiny("onnx", "openvino", profile=one)
    assert report.verdict == "pass"
    for target in ("onnx", "openvino"):
        model = onnx.load(tmp_path / f"build/engines/{target}-f32/model.onnx")
        (given,) = model.graph.input
        sizes = [d.dim_value or d.dim_param for d in given.type.tensor_type.shape.dim]
        assert sizes == [1, 3, "H", 16]
    assert check(tmp_path / "build", threads=1).verdict == "pass"
