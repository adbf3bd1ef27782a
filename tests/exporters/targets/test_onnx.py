"""ONNX Runtime: right on the CPU, and never silently on the CPU."""

import numpy as np
import onnx
import pytest

from datac.errors import BadInput, PlatformMissing
from exporters.nvidia_driver import why_no_gpu
from exporters.targets import resolve
from exporters.targets.onnx import open_session
from exporters.targets.target import BuildOptions, TargetFailed

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
TARGET = resolve("onnx")


def test_the_engine_is_right_at_its_size(model, folder, image, float64_answer):
    options = BuildOptions((2, 3, 33, 47))
    engine = TARGET.build(model, options, folder)
    inputs = image((2, 3, 33, 47))
    with TARGET.load(folder, engine, options) as runner:
        answer = runner.run({"input": inputs})
    expected = float64_answer(inputs)
    assert set(answer) == {"logits"}
    assert np.abs(answer["logits"] - expected).max() < 1e-5 * np.abs(expected).max()
    assert [path.name for path in folder.iterdir()] == [engine.file] == ["model.onnx"]
    assert engine.versions == {"onnxruntime": ort.__version__}


def test_an_open_engine_takes_any_size(model, folder, image, float64_answer):
    options = BuildOptions((1, 3, 32, 32), dynamic_height_width=True)
    engine = TARGET.build(model, options, folder)
    with TARGET.load(folder, engine, options) as runner:
        for shape in ((1, 3, 32, 32), (3, 3, 17, 5)):
            answer = runner.run({"input": image(shape)})["logits"]
            assert answer.shape == (shape[0], 5, *shape[2:])


def test_another_size_than_the_engines_is_refused_in_one_sentence(model, folder, image):
    options = BuildOptions((1, 3, 32, 32))
    engine = TARGET.build(model, options, folder)
    sentence = r"model.onnx takes input of size 1x3x32x32 and was given 1x3x32x33; compile"
    with TARGET.load(folder, engine, options) as runner, pytest.raises(BadInput, match=sentence):
        runner.run({"input": image((1, 3, 32, 33))})


def test_fixing_the_size_in_the_file_leaves_no_arithmetic_on_shapes(model, folder, tmp_path):
    """So the file is as fast as one whose free dimensions are overridden on loading."""
    TARGET.build(model, BuildOptions((1, 3, 33, 47)), folder)
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    providers = ["CPUExecutionProvider"]
    ort.InferenceSession(str(folder / "model.onnx"), settings, providers=providers)
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert "Resize" in kinds
    assert "Shape" not in kinds


@pytest.mark.parametrize(("asked", "threads"), [(1, 1), (None, None)])
def test_threads_are_set_and_stated(model, folder, asked, threads):
    options = BuildOptions((1, 3, 8, 8), threads=asked)
    engine = TARGET.build(model, options, folder)
    with TARGET.load(folder, engine, options) as runner:
        assert runner.device == "cpu"
        assert runner.threads == threads or (threads is None and runner.threads >= 1)


def test_a_call_is_timed(model, folder, image):
    options = BuildOptions((1, 3, 8, 8))
    engine = TARGET.build(model, options, folder)
    with TARGET.load(folder, engine, options) as runner:
        compute, transfer = runner.time_call({"input": image((1, 3, 8, 8))})
    assert compute > 0
    assert transfer is None


def test_an_unknown_operation_is_one_sentence_that_names_it(unknown_operation, folder):
    options = BuildOptions((1, 3, 8, 8), dynamic_height_width=True)
    engine = TARGET.build(unknown_operation, options, folder)
    with pytest.raises(TargetFailed, match=r"ONNX Runtime refused .*Frobnicate") as caught:
        TARGET.load(folder, engine, options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(why_no_gpu() is None, reason="there is a GPU")
def test_cuda_without_a_gpu_is_said_and_not_replaced_by_the_cpu(model, folder):
    options = BuildOptions((1, 3, 8, 8), device="cuda")
    engine = TARGET.build(model, options, folder)
    with pytest.raises(PlatformMissing, match="cannot run on CUDA here"):
        TARGET.load(folder, engine, options)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="the GPU package is installed"
)
def test_cuda_with_the_package_for_the_cpu_says_which_one_it_wants(model, folder, driver):
    options = BuildOptions((1, 3, 8, 8), device="cuda")
    engine = TARGET.build(model, options, folder)
    with pytest.raises(PlatformMissing, match=r"pip install 'datac\[gpu\]'"):
        TARGET.load(folder, engine, options)


def test_a_session_that_fell_back_is_refused(model, folder, monkeypatch):
    """ONNX Runtime gives a session on the CPU where CUDA fails to load, and only prints."""
    TARGET.build(model, BuildOptions((1, 3, 8, 8)), folder)
    real = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda path, settings, providers: real(path, settings)
    )
    with pytest.raises(PlatformMissing, match="fell back from CUDAExecutionProvider"):
        open_session(
            folder / "model.onnx", [("CUDAExecutionProvider", {})], {}, threads=1, title="ORT"
        )
