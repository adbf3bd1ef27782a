"""`--target auto`: what runs here is built, and the fastest that passes is named."""

import pytest

from datac.cli import run
from datac.documents.report import Latency, Report, TargetResult
from datac.report.wording import fastest as sentence
from exporters.auto import engines_here, fastest
from exporters.targets.onnx import OnnxRuntime
from exporters.targets.target import BuildOptions, Missing

OPTIONS = BuildOptions((1, 3, 16, 16), threads=1)


def timed(target, precision, milliseconds, verdict="pass", conclusive=True, rounds=9):
    medians = tuple(milliseconds * (1 + 0.001 * i) for i in range(rounds))
    latency = Latency(
        median=medians[rounds // 2],
        p90=milliseconds,
        p99=milliseconds,
        spread=0.01,
        conclusive=conclusive,
        rounds=rounds,
        round_medians=medians,
        calls=90,
        batch=1,
        device="cpu",
    )
    return TargetResult(
        target=target, precision=precision, status="run", verdict=verdict, latency_ms=latency
    )


def test_what_runs_here_is_found_without_int8_where_nothing_calibrates_it():
    pairs = engines_here(OPTIONS, (), int8=False)
    assert {("onnx", "f32"), ("onnx", "f16"), ("openvino", "f32")} <= {*pairs}
    assert not [pair for pair in pairs if pair[1] == "int8" or pair[0] in ("torch", "trt-rtx")]
    assert ("openvino", "int8") in engines_here(OPTIONS, (), int8=True)
    assert engines_here(OPTIONS, ("f32",), int8=True) == (("onnx", "f32"), ("openvino", "f32"))


def test_a_platform_that_is_not_here_is_left_out(monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "missing", lambda self: Missing("it is not here", "get it"))
    assert {name for name, _ in engines_here(OPTIONS, (), int8=False)} == {"openvino"}


def test_the_fastest_passes_and_is_held_to_the_first_in_float32():
    results = [
        timed("onnx", "f32", 10.0),
        timed("openvino", "f32", 8.0),
        timed("openvino", "bf16", 4.0),
        timed("openvino", "int8", 3.0, verdict="fail"),
        timed("onnx", "int8", 2.0, conclusive=False),
    ]
    found = fastest(results)
    assert (found.engine, found.than) == ("openvino bf16", "onnx f32")
    assert found.speedup == pytest.approx(2.5)
    assert found.speedup_low <= found.speedup <= found.speedup_high
    said = sentence(Report.model_construct(fastest=found))
    assert said.startswith("The fastest engine that passes is openvino bf16, 4.0")
    assert "2.50 times" in said


@pytest.mark.parametrize(
    "results",
    [
        [],
        [timed("onnx", "f32", 1.0)],
        [timed("onnx", "f16", 1.0), timed("openvino", "f16", 2.0)],
        [timed("onnx", "f32", 1.0, verdict="fail"), timed("openvino", "bf16", 2.0)],
        [timed("onnx", "f32", 1.0, rounds=3), timed("openvino", "f32", 2.0, rounds=3)],
    ],
)
def test_where_there_is_nothing_to_compare_nothing_is_claimed(results):
    assert fastest(results) is None


def test_auto_builds_all_and_judges_them(compile_tiny):
    report = compile_tiny("auto")
    built = {(result.target, result.precision) for result in report.targets}
    assert built == {*engines_here(OPTIONS, (), int8=False)}
    assert report.verdict == "pass"


def test_the_command_takes_auto_with_a_precision(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["compile", "data-m4", "--channels", "4", "--cells", "3", "--target", "auto"]
    assert run([*words, "--precision", "f32", "--threads", "1", "--bench-seconds", "0"]) == 0
    said = capsys.readouterr().out
    assert "onnx f32" in said
    assert "openvino f32" in said
    assert "torch f32" not in said
