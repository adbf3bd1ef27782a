"""OpenVINO: float32, read back."""

import numpy as np
import pytest

from datac.errors import BadInput, PlatformMissing
from exporters.targets import resolve
from exporters.targets.openvino import require_precision
from exporters.targets.target import BuildOptions, TargetFailed

openvino = pytest.importorskip("openvino", reason="openvino is not installed")
TARGET = resolve("openvino")


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_engine_is_right_to_float32(model, folder, image, float64_answer, dynamic):
    """bf16, the default on CPUs that have it, errs by 1e-2 here."""
    options = BuildOptions((2, 3, 33, 47), dynamic_height_width=dynamic)
    engine = TARGET.build(model, options, folder)
    inputs = image((2, 3, 33, 47))
    with TARGET.load(folder, engine, options) as runner:
        answer = runner.run({"input": inputs})["logits"]
    expected = float64_answer(inputs)
    error = np.sqrt(np.mean((answer - expected) ** 2)) / np.sqrt(np.mean(expected**2))
    assert error < 2e-6
    assert engine.versions == {"openvino": openvino.__version__}
    assert engine.options["INFERENCE_PRECISION_HINT"] == "f32"


def test_the_precision_is_read_back():
    class Compiled:
        precision = openvino.Type.bf16

        def get_property(self, name):
            assert name == "INFERENCE_PRECISION_HINT"
            return self.precision

    require_precision(Compiled(), "bf16")
    with pytest.raises(TargetFailed, match="runs this model in bf16 although f32 was asked for"):
        require_precision(Compiled(), "f32")


def test_a_precision_that_the_processor_lacks_is_missing(monkeypatch):
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    target = resolve("openvino")
    assert target.missing_precision("f32") is None
    missing = target.missing_precision("bf16")
    assert str(missing) == (
        "OpenVINO has no bf16 engines: this processor has no instructions for it; choose "
        "--precision f32 or int8"
    )


def test_answers_outlive_the_next_call(model, folder, image):
    options = BuildOptions((1, 3, 8, 8))
    engine = TARGET.build(model, options, folder)
    with TARGET.load(folder, engine, options) as runner:
        first = runner.run({"input": image((1, 3, 8, 8))})["logits"]
        kept = first.copy()
        runner.run({"input": image((1, 3, 8, 8))})
    np.testing.assert_array_equal(first, kept)


def test_threads_are_read_back_and_a_call_is_timed(model, folder, image):
    options = BuildOptions((1, 3, 8, 8), threads=1)
    engine = TARGET.build(model, options, folder)
    with TARGET.load(folder, engine, options) as runner:
        assert runner.threads == 1
        compute, transfer = runner.time_call({"input": image((1, 3, 8, 8))})
    assert compute > 0
    assert transfer is None


def test_another_size_than_the_engines_is_refused_in_one_sentence(model, folder, image):
    options = BuildOptions((1, 3, 32, 32))
    engine = TARGET.build(model, options, folder)
    sentence = r"takes input of size 1x3x32x32 and was given 2x3x32x32"
    with TARGET.load(folder, engine, options) as runner, pytest.raises(BadInput, match=sentence):
        runner.run({"input": image((2, 3, 32, 32))})


def test_an_unknown_operation_is_one_sentence_when_building(unknown_operation, folder):
    options = BuildOptions((1, 3, 8, 8), dynamic_height_width=True)
    with pytest.raises(TargetFailed, match=r"OpenVINO refused .*Frobnicate") as caught:
        TARGET.build(unknown_operation, options, folder)
    assert "\n" not in str(caught.value)


def test_cuda_is_refused(model, folder):
    options = BuildOptions((1, 3, 8, 8), device="cuda")
    engine = TARGET.build(model, options, folder)
    with pytest.raises(PlatformMissing, match="on the CPU only"):
        TARGET.load(folder, engine, options)
