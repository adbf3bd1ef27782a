"""Engines of an earlier build are given new weights, or the sentence says why they are not."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import onnx
import pytest
from played_tensorrt import VERSIONS, PlayedTensorRT, play
from safetensors.numpy import load_file, save_file

from datac.cli import run
from datac.documents.build_folder import SideCar
from datac.documents.profile import Profile
from datac.documents.read import read_json
from datac.errors import BadInput
from exporters.export import compile_build
from exporters.quantisation import Calibration
from exporters.refit import other_than_weights
from exporters.request import Request
from exporters.targets.specialise import specialise


class Played(PlayedTensorRT):
    """Counts what it builds and what it refits."""

    made: ClassVar[list[str]] = []

    def _engine(self, how, content, options, folder):
        Played.made.append(how)
        words = {"refittable": options.refittable, "dynamic": options.dynamic_height_width}
        profile = options.span if options.dynamic_height_width else None
        return self.written(content, folder, options=words, profile=profile)

    def build(self, model, options, folder):
        return self._engine("built", specialise(model, options), options, folder)

    def refit(self, earlier, versions, model, options, folder):
        assert versions == VERSIONS
        plan, new = onnx.load(earlier, format="protobuf"), specialise(model, options)
        weights = {tensor.name: tensor for tensor in new.graph.initializer}
        for tensor in plan.graph.initializer:
            tensor.CopyFrom(weights[tensor.name])
        return self._engine("refitted", plan, replace(options, refittable=True), folder)


@pytest.fixture
def made(monkeypatch):
    """The target `trt`, played; what it has made."""
    play(monkeypatch, Played)
    monkeypatch.setattr(Played, "made", [])
    return Played.made


@pytest.fixture
def earlier(made, compile_tiny, tmp_path):
    """A build with a refittable engine, of weights of seed 0."""
    compile_tiny("trt", refittable=True)
    return tmp_path / "build"


def digest(folder):
    return read_json(folder / "engines/trt-f32/engine.json", SideCar).engine_sha256


def why_failed(report):
    (result,) = report.targets
    assert (result.status, result.verdict) == ("failed", "fail")
    return result.reason


def test_an_engine_gets_new_weights_and_passes(made, earlier, compile_tiny, tmp_path):
    again, digests = tmp_path / "again", {digest(earlier)}
    for seed, source, out in ((1, earlier, again), (2, again, tmp_path / "third")):
        report = compile_tiny("trt", "onnx", refit=source, seed=seed, out=out)
        assert {t.target: t.verdict for t in report.targets} == {"trt": "pass", "onnx": "pass"}
        digests.add(digest(out))
    assert len(digests) == 3
    assert made == ["built", "refitted", "refitted"]


def test_a_build_of_new_weights_takes_an_engine_in(made, earlier, compile_tiny, tmp_path):
    compile_tiny("onnx", seed=1, out=tmp_path / "new")
    request = Request(("trt",), tmp_path / "new", refit=earlier, threads=1, bench_seconds=0.0)
    report = compile_build(tmp_path / "new", request)
    assert {t.target: t.verdict for t in report.targets} == {"trt": "pass", "onnx": "pass"}
    assert made == ["built", "refitted"]


def test_a_rewrite_that_depends_on_values_is_seen(made, earlier, compile_tiny, tmp_path):
    """The new network has a path less in its own model."""
    arrays = load_file(earlier / "weights.safetensors")
    for name in [name for name in arrays if name.startswith("cell0.node2.path0.norm")]:
        if name.endswith((".weight", ".bias")):
            arrays[name] = np.zeros_like(arrays[name])
    weights, plan = tmp_path / "dead.safetensors", ("remove_zero_paths",)
    save_file(arrays, weights)
    compile_tiny("trt", refittable=True, rewrites=plan)
    settings = {"refit": earlier, "weights": weights, "out": tmp_path / "n"}
    reason = why_failed(compile_tiny("trt", **settings, rewrites=plan))
    assert "cannot be refitted: the node" in reason
    assert reason.endswith("is another in the new model; compile without --refit")
    assert "with the parts none, and now argmax is asked" in why_failed(
        compile_tiny("trt", **settings, rewrites=plan, embed=("argmax",))
    )
    assert "rewritten by remove_zero_paths, and now none is asked" in why_failed(
        compile_tiny("trt", **settings)
    )
    assert made == ["built", "built"]


def test_nodes_that_only_one_set_of_weights_takes_out_of_float16_are_named(
    made, compile_tiny, tmp_path
):
    earlier = tmp_path / "build"
    half = {"precisions": ("f16",)}
    compile_tiny("trt", refittable=True, **half)
    arrays = load_file(earlier / "weights.safetensors")
    name = next(name for name in arrays if "stem" in name and "norm" in name and "weight" in name)
    arrays[name] *= 1e6
    save_file(arrays, tmp_path / "large.safetensors")
    settings = {"refit": earlier, "weights": tmp_path / "large.safetensors", **half}
    reason = why_failed(compile_tiny("trt", **settings, out=tmp_path / "new"))
    assert "stays float32 with one of the two sets of weights alone" in reason


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precisions": ("f16",)}, "has no engine trt-f16 to refit"),
        ({"dynamic": True}, "takes other sizes than are asked for"),
        (
            {"profile": Profile(min=(1, 3, 16, 16), opt=(1, 3, 16, 16), max=(1, 3, 64, 64))},
            "takes other sizes than are asked for",
        ),
        ({"targets": ("onnx",)}, "--refit is for --target trt"),
        ({"targets": ("onnx",), "refit": None, "refittable": True}, "--refittable is for --target"),
        ({"task": "segmentation"}, r"is of another network \(cifar, not segmentation\)"),
        ({"tune_seconds": 1.0}, "keeps the plan that an engine was made by; leave out --tune"),
        ({"precisions": ("int8",), "calibration": Calibration((), "min-max")}, "not for int8"),
    ],
)
def test_what_cannot_be_refitted_is_said_before_anything_is_made(
    made, earlier, compile_tiny, tmp_path, settings, said
):
    settings = {"targets": ("trt",), "refit": earlier, "out": tmp_path / "new"} | settings
    with pytest.raises(BadInput, match=said):
        compile_tiny(*settings.pop("targets"), **settings)
    assert made == ["built"]
    assert not (tmp_path / "new").exists()


def test_an_engine_that_was_not_made_for_it_is_refused(made, compile_tiny, tmp_path):
    compile_tiny("trt")
    with pytest.raises(BadInput, match="was not compiled with --refittable"):
        compile_tiny("trt", refit=tmp_path / "build", out=tmp_path / "new")


def test_another_genotype_and_a_damaged_engine_are_refused(made, earlier, capsys, monkeypatch):
    monkeypatch.chdir(earlier.parent)
    words = ["--target", "trt", "--refit", "build", "--out", "new"]
    assert run(["compile", "darts-v2", *words]) == 2
    assert "build is of another genotype" in capsys.readouterr().err
    assert run(["compile", "build", "--target", "trt", "--refit", "build"]) == 2
    assert "is also the folder to write; give another --out" in capsys.readouterr().err
    plan = earlier / "engines/trt-f32/engine.plan"
    plan.write_bytes(plan.read_bytes() + b" ")
    assert run(["compile", "build", *words]) == 2
    said = capsys.readouterr().err
    assert "engine.plan is not the file that manifest.json describes" in said
    assert said.rstrip().endswith("; compile without --refit")
    assert made == ["built"]


def test_models_that_differ_in_weights_alone_have_no_difference(compile_tiny, tmp_path):
    compile_tiny("onnx")
    compile_tiny("onnx", seed=1, out=tmp_path / "other")
    one, other = (onnx.load(tmp_path / name / "model.onnx") for name in ("build", "other"))
    assert one.graph.initializer != other.graph.initializer
    assert other_than_weights(one, other) is None
    other.graph.initializer[0].name += "'"
    assert other_than_weights(one, other).startswith("the initializer ")
    del other.graph.node[-1]
    assert other_than_weights(one, other) is not None
