"""Engines whose own model is rewritten: proved, replayed, judged, or refused."""

import json

import onnx
import pytest

from compiler.passes import REWRITES
from compiler.passes.merge_sums import MergeSums
from datac.errors import BadInput
from exporters.check import check
from exporters.default_plan import DEFAULTS, chosen
from exporters.export import compile_build
from exporters.request import Request

ALL = tuple(name for name in REWRITES if name != "merge_sums")


def only(report):
    (result,) = report.targets
    return result


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_the_default_plan_is_proved_and_recorded(compile_tiny, tmp_path, target):
    result = only(compile_tiny(target, task="segmentation"))
    assert result.verdict == "pass", result.reason
    assert [r.name for r in result.rewrites] == [*DEFAULTS[target, "f32"]]
    assert all(0 <= r.max_relative <= 1e-12 for r in result.rewrites)
    assert sum(r.places for r in result.rewrites) > 0
    side_car = json.loads((tmp_path / f"build/engines/{target}-f32/engine.json").read_text())
    assert side_car["rewrites"] == [*DEFAULTS[target, "f32"]]
    assert "--rewrite" not in side_car["rebuild"]
    again = only(check(tmp_path / "build", threads=1))
    assert (again.verdict, again.places.wrong) == ("pass", ())
    assert [r.name for r in again.rewrites] == side_car["rewrites"]


def test_the_canonical_model_is_never_rewritten(compile_tiny, tmp_path):
    compile_tiny("onnx", rewrites=())
    plain = (tmp_path / "build/model.onnx").read_bytes()
    kernels = (tmp_path / "build/engines/onnx-f32/model.onnx").read_bytes()
    compile_tiny("onnx", rewrites=("pad_channels",))
    assert (tmp_path / "build/model.onnx").read_bytes() == plain
    assert (tmp_path / "build/engines/onnx-f32/model.onnx").read_bytes() != kernels


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16"])
def test_all_of_them_together_are_judged_in_every_precision(compile_tiny, precision):
    report = compile_tiny(
        "onnx", "openvino", task="segmentation", rewrites=ALL, precisions=(precision,)
    )
    if all(result.status == "missing" for result in report.targets):
        pytest.skip(f"nothing here runs {precision}")
    for result in report.targets:
        if result.status != "missing":
            assert result.verdict == "pass", result.reason
            assert [r.name for r in result.rewrites] == [*ALL]
            assert result.places.wrong == ()
            assert result.places.unseen == ()


@pytest.mark.parametrize("name", REWRITES)
def test_each_alone_is_judged(compile_tiny, name):
    result = only(compile_tiny("onnx", task="segmentation", rewrites=(name,)))
    assert result.verdict == "pass", result.reason


def test_one_that_is_not_exact_is_refused_by_name(compile_tiny, monkeypatch):
    class ForgetABias(MergeSums):
        def rewrite(self, graph, match):
            super().rewrite(graph, match)
            name = f"{match.total.name.replace('/', '.')}_merged.bias"
            graph.weights[name] = 0.999 * graph.weights[name]

    monkeypatch.setitem(REWRITES, "merge_sums", ForgetABias())
    report = compile_tiny("onnx", "torch", rewrites=("pad_channels", "merge_sums"))
    result = report.targets[0]
    assert (result.status, result.verdict) == ("failed", "fail")
    assert "the rewrite merge_sums is not exact on this network" in result.reason
    assert report.targets[1].verdict == "pass"


def test_a_side_car_with_another_plan_is_found_out(compile_tiny, tmp_path, update_manifest):
    compile_tiny("onnx", rewrites=("share_relu", "merge_pointwise"))
    path = tmp_path / "build/engines/onnx-f32/engine.json"
    side_car = json.loads(path.read_text())
    for names, says in (
        (["share_relu"], "is not what model.onnx makes by its side-car's plan"),
        (["share_relu", "make_it_fast"], "names a rewrite make_it_fast, which this datac"),
    ):
        path.write_text(json.dumps(side_car | {"rewrites": names}))
        update_manifest(tmp_path / "build", "engines/onnx-f32/engine.json")
        result = only(check(tmp_path / "build", threads=1))
        assert result.verdict == "fail"
        assert says in result.reason


def test_what_holds_for_one_size_is_for_engines_of_one_size(compile_tiny, tmp_path):
    report = compile_tiny("onnx", task="segmentation", dynamic=True)
    names = [r.name for r in only(report).rewrites]
    assert names == [n for n in DEFAULTS["onnx", "f32"] if n != "drop_padding_taps"]
    with pytest.raises(BadInput, match="drop_padding_taps holds for one size alone"):
        compile_tiny("onnx", dynamic=True, rewrites=("drop_padding_taps",), out=tmp_path / "x")


def test_a_build_gets_rewritten_engines_later(build):
    request = Request(("onnx",), build, threads=1, bench_seconds=0.0, rewrites=("split_pointwise",))
    report = compile_build(build, request)
    assert report.verdict == "pass"
    side_car = json.loads((build / "engines/onnx-f32/engine.json").read_text())
    assert "--rewrite split_pointwise" in side_car["rebuild"]


def test_every_node_of_a_rewritten_engine_bears_its_place(compile_tiny, tmp_path):
    compile_tiny("onnx", rewrites=ALL)
    model = onnx.load(tmp_path / "build/engines/onnx-f32/model.onnx")
    outputs = {output.name for output in model.graph.output}
    for node in model.graph.node:
        assert node.name.startswith(("cell", "stem", "head")) or node.name in outputs


def test_words_are_put_in_order_and_strange_ones_refused():
    assert chosen(["pad_channels", "share_relu"]) == ("share_relu", "pad_channels")
    assert chosen(["none"]) == ()
    with pytest.raises(BadInput, match=r"'pad_chanels' is none.*pad_channels"):
        chosen(["pad_chanels"])
    with pytest.raises(BadInput, match="stands alone"):
        chosen(["none", "share_relu"])
