"""A place cut out of an engine: it runs by itself, and shows what the engine does."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from datac.errors import BadInput
from exporters.reduce import DATA, reduce
from exporters.targets.onnx import CpuRunner

PATH = "cell0/node2/path0/sep_conv_3x3"


def tensor(path):
    proto = onnx.TensorProto()
    proto.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(proto)


@pytest.fixture
def wrong_convolutions(monkeypatch):
    """ONNX Runtime answers a hundredth too much wherever it makes this path's value."""
    run = CpuRunner.run

    def distorted(self, inputs):
        answers = run(self, inputs)
        return {k: v * np.float32(1.01) if k.startswith(PATH) else v for k, v in answers.items()}

    monkeypatch.setattr(CpuRunner, "run", distorted)


def test_what_is_wrong_is_found_and_shown_by_itself(build, tmp_path, wrong_convolutions):
    found = reduce(build, tmp_path / "reduced", engine="onnx-f32", place=None, threads=1)
    assert found.place == PATH
    assert found.alone == pytest.approx(found.whole, rel=1e-3)
    assert found.alone > 1000 * found.predicted
    assert found.sentence.endswith("and is as wrong by itself")
    text = (tmp_path / "reduced/README.md").read_text()
    assert found.sentence in text
    assert "onnxruntime" in text


def test_values_that_are_not_finite_are_wrong(build, tmp_path, monkeypatch):
    run = CpuRunner.run

    def broken(self, inputs):
        answers = run(self, inputs)
        return {k: v * np.float32(np.nan) if k.startswith(PATH) else v for k, v in answers.items()}

    monkeypatch.setattr(CpuRunner, "run", broken)
    found = reduce(build, tmp_path / "reduced", engine="onnx-f32", place=None, threads=1)
    assert found.place == PATH
    assert found.sentence.endswith("and is as wrong by itself")


def test_a_place_that_is_named_is_right_where_it_is_right(build, tmp_path):
    out = tmp_path / "reduced"
    found = reduce(build, out, engine="onnx-f32", place="cell1/node2", threads=1)
    assert found.place == "cell1/node2"
    assert found.sentence.endswith("and is right, as it is in the engine")
    model = onnx.load(out / "model.onnx")
    assert [node.op_type for node in model.graph.node] == ["Add"]
    inputs = [tensor(out / DATA / f"input_{index}.pb") for index in range(2)]
    answer = tensor(out / DATA / "output_0.pb")
    np.testing.assert_allclose(inputs[0] + inputs[1], answer, rtol=1e-5, atol=1e-6)


def test_the_readme_runs(build, tmp_path):
    out = tmp_path / "reduced"
    reduce(build, out, engine="onnx-f32", place=PATH, threads=1)
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=True
    )
    words = done.stdout.split()
    assert words[:2] == ["RMS", "error"]
    assert float(words[2]) < 1.5 * float(words[4])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"engine": "torch-f32", "place": None}, "torch-f32 is no engine that can be reduced here"),
        ({"engine": None, "place": None}, "no place of onnx-f32 is wrong; name one by --place"),
        ({"engine": None, "place": "cell9"}, 'onnx-f32 has no place "cell9"; there are stem, '),
    ],
)
def test_what_cannot_be_reduced_is_refused(build, tmp_path, asked, said):
    with pytest.raises(BadInput, match=said):
        reduce(build, tmp_path / "reduced", threads=1, **asked)
    assert not (tmp_path / "reduced").exists()


def test_a_file_that_is_at_fault_is_not_blamed_on_what_runs_it(build, tmp_path, update_manifest):
    name = "engines/onnx-f32/model.onnx"
    model = onnx.load(build / name)
    next(n for n in model.graph.node if n.op_type == "MaxPool").attribute[0].ints[:] = [5, 5]
    model.graph.node[0].doc_string = "changed"
    onnx.save(model, build / name)
    update_manifest(build, name)
    with pytest.raises(BadInput, match=r"model\.onnx"):
        reduce(build, tmp_path / "reduced", engine="onnx-f32", place=None, threads=1)
