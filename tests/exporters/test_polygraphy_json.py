"""Polygraphy's JSON as that tool writes and reads it, and the gate on what runners answered."""

import base64
import io
import json

import numpy as np
import pytest

from datac.cli import run
from datac.errors import BadInput
from exporters.given_outputs import judge_outputs, save_reference
from exporters.polygraphy_json import load_inputs, load_outputs, save_inputs, save_outputs

# As polygraphy 0.53.6 writes them: `save_json([{"input": arange(3)}])`, and `RunResults.save` of
# one run of the runner `onnxrt` that answers `logits = arange(2)`. All float32.
ARANGE_3 = (
    "k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDMsKSwgfS"
    "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACA"
    "PwAAAEA="
)
ARANGE_2 = (
    "k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfS"
    "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACA"
    "Pw=="
)
INPUTS = [{"input": {"array": ARANGE_3, "polygraphy_class": "ndarray"}}]
OUTPUTS = {
    "lst": [
        [
            "onnxrt",
            [
                {
                    "outputs": {
                        "logits": {
                            "values": {"array": ARANGE_2, "polygraphy_class": "ndarray"},
                            "polygraphy_class": "LazyArray",
                        }
                    },
                    "runtime": None,
                    "runner_name": "onnxrt",
                    "polygraphy_class": "IterationResult",
                }
            ],
        ]
    ],
    "polygraphy_class": "RunResults",
}


def test_what_it_writes_is_read(tmp_path):
    (tmp_path / "in.json").write_text(json.dumps(INPUTS))
    (tmp_path / "out.json").write_text(json.dumps(OUTPUTS))
    (inputs,) = load_inputs(tmp_path / "in.json")
    assert inputs["input"].tolist() == [0, 1, 2]
    (answers,) = load_outputs(tmp_path / "out.json")["onnxrt"]
    assert answers["logits"].tolist() == [0, 1]


def test_what_is_written_is_what_it_writes(tmp_path):
    save_inputs(tmp_path / "in.json", [{"input": np.arange(3, dtype=np.float32)}])
    save_outputs(tmp_path / "out.json", "onnxrt", [{"logits": np.arange(2, dtype=np.float32)}])
    assert json.loads((tmp_path / "in.json").read_text()) == INPUTS
    assert json.loads((tmp_path / "out.json").read_text()) == OUTPUTS


def declares_more():
    raw = base64.b64decode(ARANGE_3)
    return base64.b64encode(raw.replace(b"(3,), }", b"(9999999999,)}")).decode()


def pickled():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object))
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ({"array": "!"}, "holds no array that can be read"),
        ({"array": pickled()}, "holds no array that can be read"),
        ({"array": declares_more()}, "holds no array that can be read"),
        ({"array": ARANGE_3[:40]}, "holds no array that can be read"),
        (
            {"values": "../elsewhere.npy", "polygraphy_class": "LazyArray"},
            "it is not opened",
        ),
        (3, "holds no array"),
    ],
)
def test_what_is_no_array_is_refused_and_nothing_unpickled(tmp_path, array, said):
    (tmp_path / "in.json").write_text(json.dumps([{"input": array}]))
    with pytest.raises(BadInput, match=said):
        load_inputs(tmp_path / "in.json")
    for content in ("{", "[]", "{}", '{"lst": [["a", 3]]}', '{"lst": []}'):
        (tmp_path / "in.json").write_text(content)
        for read in (load_inputs, load_outputs):
            with pytest.raises(BadInput):
                read(tmp_path / "in.json")


def test_float64s_own_answers_pass_and_others_do_not(build, tmp_path, capsys):
    inputs, answers = tmp_path / "in.json", tmp_path / "out.json"
    assert save_reference(build, inputs, answers) == 4
    assert len(load_inputs(inputs)) == 4
    report = judge_outputs(build, answers, "f32", "")
    assert report.verdict == "pass"
    assert [result.target for result in report.targets] == ["datac-float64"]
    (runs,) = load_outputs(answers).values()
    off = [{"other name": run["logits"] * np.float32(1.0001)} for run in runs]
    save_outputs(answers, "trt", off)
    assert judge_outputs(build, answers, "f32", "").verdict == "fail"
    assert judge_outputs(build, answers, "f16", "").verdict == "pass"
    save_outputs(answers, "trt", off[:2])
    with pytest.raises(BadInput, match="trt answered 2 times, but the build's reference has 4"):
        judge_outputs(build, answers, "f32", "")
    save_outputs(answers, "trt", [{"logits": np.full((1, 3), np.nan, np.float32)}] * 4)
    assert "NaN or infinite" in judge_outputs(build, answers, "f16", "").targets[0].reason


def test_the_command_line(build, tmp_path, capsys):
    saved = ("--save-inputs", "in.json", "--save-outputs", "out.json")
    assert run(["check", str(build), *saved]) == 0
    assert "wrote 4 runs to in.json" in capsys.readouterr().out
    assert run(["check", str(build), "--outputs", "out.json"]) == 0
    assert "PASS  datac-float64 f32 agrees" in capsys.readouterr().out
    assert run(["check", str(build), "--outputs", "out.json", "--threads", "1"]) == 2
    for option in ("--save-inputs", "--save-outputs"):
        assert run(["check", str(build), option, "absent/x.json"]) == 2
        assert "absent is no folder; x.json cannot be written" in capsys.readouterr().err
    assert run(["check", str(build), "--precision", "f16"]) == 2
    assert "give them with it" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
