"""`datac bench`: latencies of a build's engines, which may be inconclusive."""

import json

import pytest

from datac.cli import run
from datac.documents.report import Latency

BENCH = ("bench", "build", "--threads", "1", "--seconds", "0.2")


@pytest.fixture
def measured(monkeypatch):
    """measured(spread): `measure` answers without a clock."""

    def play(spread):
        def measure(runners, inputs, **options):
            return {
                name: Latency(
                    median=1.5,
                    p90=1.75,
                    p99=2.0,
                    spread=spread,
                    conclusive=spread <= 0.1,
                    rounds=15,
                    calls=150,
                    batch=len(inputs["input"]),
                    threads=runner.threads,
                    device=runner.device,
                )
                for name, runner in runners.items()
            }

        monkeypatch.setattr("exporters.bench.measure", measure)

    return play


def test_every_engine_that_runs_is_timed(build, capsys):
    before = {path: path.stat().st_mtime_ns for path in build.rglob("*")}
    assert run([*BENCH, "--json"]) in (0, 4)
    latencies = json.loads(capsys.readouterr().out)
    assert set(latencies) == {"onnx-f32", "openvino-f32", "torch-f32"}
    for latency in latencies.values():
        assert 0 < latency["median"] <= latency["p90"] <= latency["p99"]
        assert (latency["batch"], latency["threads"], latency["device"]) == (1, 1, "cpu")
    assert {path: path.stat().st_mtime_ns for path in build.rglob("*")} == before


@pytest.mark.parametrize(("spread", "code"), [(0.05, 0), (0.4, 4)])
def test_a_wide_spread_is_4_and_said(build, measured, capsys, spread, code):
    measured(spread)
    assert run([*BENCH]) == code
    output = capsys.readouterr().out
    assert "1.500" in output
    assert ("inconclusive" in output) == (code == 4)


def test_it_runs_without_torch(build, without_torch):
    done = without_torch(*BENCH, "--json")
    assert done.returncode in (0, 4), done.stderr
    assert set(json.loads(done.stdout)) == {"onnx-f32", "openvino-f32"}


def test_a_touched_engine_is_2_and_not_timed(build, measured, capsys):
    measured(0.0)
    with (build / "engines/onnx-f32/model.onnx").open("ab") as file:
        file.write(b"\0")
    assert run([*BENCH]) == 2
    assert "engines/onnx-f32/model.onnx" in capsys.readouterr().err


def test_an_engine_that_does_not_load_is_skipped_and_said(build, measured, capsys, monkeypatch):
    from exporters.targets.openvino import OpenVINO
    from exporters.targets.target import TargetFailed

    def refuse(self, folder, engine, options):
        raise TargetFailed("OpenVINO refused model.onnx")

    measured(0.0)
    monkeypatch.setattr(OpenVINO, "load", refuse)
    assert run([*BENCH, "--json"]) == 0
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)) == {"onnx-f32", "torch-f32"}
    assert "openvino-f32 was not timed: OpenVINO refused model.onnx" in captured.err


def test_what_is_no_build_is_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run([*BENCH]) == 2
    assert "build is not a build" in capsys.readouterr().err


def test_nothing_that_runs_is_3(build, monkeypatch, capsys):
    from exporters.targets.onnx import OnnxRuntime
    from exporters.targets.openvino import OpenVINO
    from exporters.targets.target import Missing
    from exporters.targets.torch import Torch

    for target in (OnnxRuntime, OpenVINO, Torch):
        monkeypatch.setattr(target, "missing", lambda self: Missing("it is absent", "get it"))
    assert run([*BENCH]) == 3
    assert "no engine of this build can run here" in capsys.readouterr().err
