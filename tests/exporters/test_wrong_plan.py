"""A plan that answers wrongly is built once more with the values inside it as outputs."""

import pytest
from onnx import numpy_helper
from played_tensorrt import PlayedTensorRT, play

from exporters.check import check
from exporters.targets.specialise import specialise
from exporters.targets.target import TargetFailed

WRONG = "cell1/node3/path0/"


class Played(PlayedTensorRT):
    """The kernels below `WRONG` take their weights half as large again."""

    is_wrong = True
    plans = 0

    def build(self, model, options, folder):
        content = specialise(model, options)
        if self.is_wrong:
            weights = {i.name: i for i in content.graph.initializer}
            (conv, *_) = [
                node
                for node in content.graph.node
                if node.op_type == "Conv" and node.name.startswith(WRONG)
            ]
            tensor = weights[conv.input[1]]
            values = numpy_helper.to_array(tensor) * 1.5
            tensor.CopyFrom(numpy_helper.from_array(values.astype("float32"), tensor.name))
        Played.plans += 1
        return self.written(content, folder)


@pytest.fixture
def played(monkeypatch):
    play(monkeypatch, Played)
    monkeypatch.setattr(Played, "plans", 0)
    return Played


def trt(report):
    return next(result for result in report.targets if result.target == "trt")


def test_the_place_of_a_wrong_kernel_is_named(played, compile_tiny, tmp_path):
    for result in (trt(compile_tiny("trt")), trt(check(tmp_path / "build", threads=1))):
        assert (result.status, result.verdict) == ("run", "fail")
        assert result.places.wrong[0].place.startswith(WRONG.rstrip("/")), result.places
        assert WRONG.rstrip("/") in result.reason
        assert result.places.count_wrong == 1


def test_a_plan_that_answers_well_is_built_once(played, monkeypatch, compile_tiny):
    monkeypatch.setattr(played, "is_wrong", False)
    result = trt(compile_tiny("trt"))
    assert (result.verdict, result.places, played.plans) == ("pass", None, 1)


def test_what_other_engines_are_compared_with_stays_as_it_was(played, compile_tiny):
    """The second plan of the same model takes any size, as the model does."""
    report = compile_tiny("trt", "onnx", dynamic=True, rewrites=())
    assert trt(report).verdict == "fail"
    (onnx_result,) = (result for result in report.targets if result.target == "onnx")
    assert onnx_result.verdict == "pass", onnx_result.reason


def test_a_check_build_that_is_refused_leaves_the_verdict(played, monkeypatch, compile_tiny):
    build = played.build

    def refuse(self, model, options, folder):
        if played.plans:
            raise TargetFailed("no room for so many outputs")
        return build(self, model, options, folder)

    monkeypatch.setattr(played, "build", refuse)
    result = trt(compile_tiny("trt"))
    assert (result.verdict, result.places.reason) == ("fail", "no room for so many outputs")
    assert WRONG not in result.reason
