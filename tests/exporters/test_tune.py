"""`--tune`: kept is what measuring shows beyond the noise, and a plan is replayed to the byte."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest

from compiler.passes import REWRITES
from datac.cli import run
from datac.datasets.preprocess import prepared_network
from datac.datasets.shapes import segmentation
from datac.documents.build_folder import SideCar
from datac.documents.engine_plan import EnginePlan
from datac.documents.network import DEFAULTS as NETWORKS
from datac.documents.read import read_json
from datac.documents.report import Latency
from datac.errors import BadInput
from exporters import tune as tuning
from exporters.check import check
from exporters.default_plan import DEFAULTS
from exporters.export import compile_build, compile_genotype
from exporters.quantisation import Calibration
from exporters.request import Request

ENGINE = "engines/onnx-f32/model.onnx"
AT_LAST = "this instead of the default plan"
RELU = ("share_relu", "relu_above_concat")
TRIED = (
    ("drop_padding_taps",),
    ("pad_channels",),
    RELU,
    (*RELU, "split_pointwise"),
    ("remove_zero_paths",),
)


def latency(milliseconds, wobble=0.001, rounds=9):
    medians = tuple(milliseconds * (1 + wobble * (-1) ** i) for i in range(rounds))
    return Latency(
        median=milliseconds,
        p90=milliseconds,
        p99=milliseconds,
        spread=wobble,
        conclusive=True,
        rounds=rounds,
        round_medians=medians,
        calls=rounds,
        batch=1,
        device="cpu",
    )


@pytest.fixture
def played(monkeypatch):
    """Times by title instead of a clock: `played.alone` and `played.added`, in order of asking."""

    class Played:
        def __init__(self):
            self.alone, self.added, self.asked = {}, {}, []

        def measure(self, runners, inputs, **settings):
            titles = [title for title in runners if title]
            first_run = len(titles) != 1 or not self.asked
            self.asked = [*self.asked, *titles]
            times = self.alone if first_run else self.added
            # The plain engine wobbles the other way, so that ratios have a width.
            return {"": latency(1.0, -0.001)} | {
                title: latency(times.get(title, 2.0)) for title in titles
            }

    played = Played()
    monkeypatch.setattr(tuning, "measure", played.measure)
    monkeypatch.setattr(tuning, "TRIED", TRIED)
    return played


def tuned(compile_tiny, **settings):
    report = compile_tiny("onnx", task="segmentation", tune_seconds=1.0, **settings)
    (result,) = report.targets
    assert result.verdict == "pass", result.reason
    return result


def test_everything_but_what_opens_the_way_for_others_is_tried():
    tried = {names[-1] for names in tuning.TRIED}
    assert tried | {"share_relu"} == {*REWRITES}


def test_only_what_is_faster_with_all_that_is_there_already_stays(compile_tiny, played, tmp_path):
    relu, split = (
        "share_relu + relu_above_concat",
        "share_relu + relu_above_concat + split_pointwise",
    )
    played.alone = {"pad_channels": 0.9, relu: 0.8, split: 0.95, "opset 21": 0.99}
    played.added = {relu: 0.8, "pad_channels": 1.01, split: 0.9, "opset 21": 0.9995, AT_LAST: 0.9}
    result = tuned(compile_tiny)
    plan = result.tuning
    assert plan.rewrites == ("share_relu", "relu_above_concat", "split_pointwise")
    assert plan.opset is None
    decisions = {decision.option: decision for decision in plan.decisions}
    assert [d.option for d in plan.decisions if d.kept] == [relu, split, AT_LAST]
    assert not decisions["pad_channels"].kept, "good alone, not with the others"
    noisy = decisions["opset 21"]
    assert noisy.low < 1 < noisy.high, "within the noise"
    assert decisions["drop_padding_taps"].ratio == pytest.approx(2.0, rel=0.01)
    assert decisions["remove_zero_paths"].reason == "there is nothing to rewrite"
    assert [rewrite.name for rewrite in result.rewrites] == [*plan.rewrites]
    written = read_json(tmp_path / "build/engines/onnx-f32/plan.json", EnginePlan)
    assert written == plan
    assert check(tmp_path / "build", threads=1).verdict == "pass"


def test_where_nothing_is_faster_the_default_plan_stays(compile_tiny, played):
    result = tuned(compile_tiny)
    assert result.tuning.rewrites == DEFAULTS["onnx", "f32"]
    assert [rewrite.name for rewrite in result.rewrites] == [*DEFAULTS["onnx", "f32"]]
    assert not any(decision.kept for decision in result.tuning.decisions)


def test_an_engine_that_takes_images_is_tuned_on_images(networks, genotype, tmp_path):
    """Measured for real: what is played would not notice a missing input."""
    network = prepared_network(
        networks.segmentation.model_copy(update={"classes": 6}), segmentation()
    )
    settings = {"threads": 1, "bench_seconds": 0.0, "tune_seconds": 0.2}
    request = Request(("onnx",), tmp_path / "build", embed=("preprocess",), **settings)
    (result,) = compile_genotype(genotype, network, None, request).targets
    assert result.verdict == "pass", result.reason
    assert result.tuning is not None


def test_another_opset_can_win_and_is_judged(compile_tiny, played, tmp_path):
    played.alone = played.added = {"opset 21": 0.5, AT_LAST: 0.5}
    assert tuned(compile_tiny).opset == 21
    assert onnx.load(tmp_path / "build" / ENGINE).opset_import[0].version == 21
    assert onnx.load(tmp_path / "build/model.onnx").opset_import[0].version == 18
    assert check(tmp_path / "build", threads=1).verdict == "pass"


def test_a_plan_is_replayed_to_the_byte_without_measuring(compile_tiny, played, tmp_path):
    played.alone = played.added = {"pad_channels": 0.5, "drop_padding_taps": 0.6, AT_LAST: 0.5}
    tuned(compile_tiny)
    first = (tmp_path / "build" / ENGINE).read_bytes()
    plan = read_json(tmp_path / "build/engines/onnx-f32/plan.json", EnginePlan)
    asked = len(played.asked)
    report = compile_tiny("onnx", task="segmentation", plans=(plan,), out=tmp_path / "again")
    assert (tmp_path / "again" / ENGINE).read_bytes() == first
    assert len(played.asked) == asked
    assert report.targets[0].tuning == plan
    side_car = json.loads((tmp_path / "again/engines/onnx-f32/engine.json").read_text())
    assert side_car["rebuild"].endswith("--plan BUILD/engines/onnx-f32/plan.json")


def test_an_engine_of_several_sizes_is_not_tuned_for_one(compile_tiny, played):
    result = tuned(compile_tiny, dynamic=True)
    decisions = {decision.option: decision for decision in result.tuning.decisions}
    assert decisions["drop_padding_taps"].reason == "it holds for one size alone"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target": "openvino"}, "which is not asked for; give --target openvino"),
        ({"precision": "f16"}, "which is not asked for"),
        ({"rewrites": ("make_it_fast",)}, "'make_it_fast' is none"),
        ({"genotype_hash": "0" * 64}, "was measured on another network .genotype 0000"),
        ({"network": NETWORKS["cifar"]}, "another network .cifar, not segmentation"),
        ({"threads": 2}, "is for 2 CPU threads, not 1; leave out --threads"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(build, played, compile_tiny, tmp_path, changes, says):
    tuned(compile_tiny)
    plan = read_json(tmp_path / "build/engines/onnx-f32/plan.json", EnginePlan)
    request = Request(("onnx",), build, plans=(plan.model_copy(update=changes),), threads=1)
    with pytest.raises(BadInput, match=says):
        compile_build(build, request)
    both = replace(request, plans=(plan,), tune_seconds=1.0)
    with pytest.raises(BadInput, match="all that --tune could tune has its --plan"):
        compile_build(build, both)


def test_an_int8_engine_runs_on_the_threads_of_its_control(compile_tiny, played, tmp_path):
    """It is held against it, with the control made now or standing since before."""
    plan = tuned(compile_tiny).tuning.model_copy(update={"threads": 1})
    images = tuple(np.random.default_rng(0).standard_normal((2, 1, 3, 32, 32), np.float32))
    settings = {"task": "segmentation", "calibration": Calibration(images, "min-max")}
    settings |= {"max_drop": 1.0, "threads": None}
    out = tmp_path / "both"
    compile_tiny("onnx", precisions=("f32", "int8"), plans=(plan,), out=out, **settings)
    assert read_json(out / "engines/onnx-int8/engine.json", SideCar).threads == 1
    shutil.rmtree(out / "engines/onnx-int8")
    request = Request(("onnx",), out, precisions=("int8",), bench_seconds=0.0, max_drop=1.0)
    compile_build(out, replace(request, calibration=settings["calibration"]))
    assert read_json(out / "engines/onnx-int8/engine.json", SideCar).threads == 1


def test_the_command_measures_for_real(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tuning, "TRIED", TRIED[1:3])
    words = ["compile", "data-m4", "--channels", "4", "--cells", "3", "--target", "onnx"]
    words += ["--threads", "1", "--bench-seconds", "0"]
    assert run([*words, "--tune", "--tune-seconds", "1"]) == 0
    assert "onnx f32 tuned:" in capsys.readouterr().out
    plan = tmp_path / "build/engines/onnx-f32/plan.json"
    assert run([*words, "--plan", str(plan), "--out", "again"]) == 0
    assert "measured on" not in capsys.readouterr().out
    content = json.loads(plan.read_text())
    content["environment"]["processor"] = "Another"
    (tmp_path / "there.json").write_text(json.dumps(content))
    assert run([*words, "--plan", "there.json", "--out", "again"]) == 0
    assert "; measured on Another, not on " in capsys.readouterr().out
    assert run([*words, "--tune", "--rewrite", "none"]) == 2
    assert "leave out --rewrite" in capsys.readouterr().err
