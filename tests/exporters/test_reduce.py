"""A place cut out of an engine: it runs by itself, and shows what the engine does."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from datac.errors import BadInput
from exporters import reduce as reduce_module
from exporters.places import TOLERATED
from exporters.reduce import DATA, Reduction, reduce
from exporters.targets.onnx import CpuRunner
from exporters.targets.target import BuildOptions

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


ROUNDED = 1e-7
"""What the script's error may differ by: its right answer is rounded to float32."""

RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


def run_script(folder, target):
    """(RMS error, what is explained) as the README's script prints them in a Python of its own.

    Its own has no other runtime than the target's.
    """
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    absent = "; ".join(f"sys.modules[{v!r}] = None" for k, v in RUNTIMES.items() if k != target)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {absent}\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["RMS", "error"]
    return float(words[2]), float(words[4])


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_the_readme_runs_what_runs_the_engine(build, tmp_path, target):
    out = tmp_path / "reduced"
    found = reduce(build, out, engine=f"{target}-f32", place=PATH, threads=1)
    error, explained = run_script(out, target)
    assert error == pytest.approx(found.alone, rel=1e-3, abs=ROUNDED)
    assert error < TOLERATED * explained
    title = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}[target]
    assert f"What runs it is {title}\n" in (out / "README.md").read_text()


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_the_readme_computes_in_the_precision_of_the_engine(compile_tiny, tmp_path, precision):
    """By OpenVINO, whose engine is the same file in each: a hint tells them apart."""
    report = compile_tiny("openvino", precisions=("f32", precision))
    results = {result.precision: result for result in report.targets}
    if results[precision].status == "missing":
        pytest.skip(results[precision].reason)
    errors = {}
    for name in ("f32", precision):
        engine, out = f"openvino-{name}", tmp_path / name
        found = reduce(tmp_path / "build", out, engine=engine, place=PATH, threads=1)
        errors[name], _ = run_script(out, "openvino")
        assert errors[name] == pytest.approx(found.alone, rel=1e-3, abs=ROUNDED)
        assert f"precision hint {name}." in (out / "README.md").read_text()
    assert errors[precision] > 100 * errors["f32"]


def test_the_readme_computes_what_is_not_int8_in_float32():
    options = BuildOptions((1, 3, 4, 4), precision="int8", threads=3)
    script = reduce_module._openvino_script(options)
    assert '"INFERENCE_PRECISION_HINT": "f32"' in script.lines
    assert '"INFERENCE_NUM_THREADS": 3' in script.lines


def test_the_readme_runs_on_the_device_of_the_engine():
    script = reduce_module._onnx_runtime_script(BuildOptions((1, 3, 4, 4), device="cuda"))
    assert 'providers=[("CUDAExecutionProvider", {"use_tf32": "0"})]' in script.lines
    assert "num_threads" not in script.lines


@pytest.mark.parametrize(
    ("nodes", "whole", "alone", "end"),
    [
        (1, 1.0, 1.0, "; cut out, it has 1 node and is right, as it is in the engine"),
        (2, 2.0, 2.0, "; cut out, it has 2 nodes and is as wrong by itself"),
        (2, 2.0, 1.0, "2 nodes but is right by itself: only within the engine it is wrong"),
        (2, 1.0, 2.0, "2 nodes but is wrong by itself, off by 2"),
        (2, np.nan, np.nan, "and is as wrong by itself"),
    ],
)
def test_the_sentence_says_what_is_wrong(nodes, whole, alone, end):
    found = Reduction("onnx-f32", "cell0/node2", nodes, whole, alone, predicted=1.0)
    start = f"cell0/node2 in onnx-f32 is off by {whole:.3g} (RMS), and its arithmetic explains 1; "
    assert found.sentence.startswith(start)
    assert found.sentence.endswith(end)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"engine": "onnx", "place": None}, "onnx is no engine that can be reduced here; there"),
        (
            {"engine": "torch-f32", "place": None},
            r"torch-f32 is no engine that can be reduced here \(it is run by PyTorch, and is no "
            r"ONNX file\); there are: onnx-f32, openvino-f32",
        ),
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


@pytest.mark.parametrize("target", ["trt", "trt-rtx"])
def test_a_plan_is_refused_with_what_shows_the_same(build, tmp_path, monkeypatch, target):
    def with_plan(*arguments):
        first, *others = open_engines(*arguments)
        changed = {"target": target, "precision": "f16", "status": "run"}
        return [first, first.with_result(**changed), *others]

    open_engines = reduce_module.open_engines
    monkeypatch.setattr(reduce_module, "open_engines", with_plan)
    with pytest.raises(BadInput, match="it is a TensorRT plan") as raised:
        reduce(build, tmp_path / "reduced", engine=f"{target}-f16", place=None, threads=1)
    assert "polygraphy run model.onnx --trt --onnxrt); there are: onnx-f32" in str(raised.value)
    assert ("POLYGRAPHY_USE_TENSORRT_RTX=1" in str(raised.value)) == (target == "trt-rtx")
