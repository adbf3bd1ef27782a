"""The file at a fixed size."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datac.errors import BadInput
from exporters.targets.specialise import specialise, write_model
from exporters.targets.target import BuildOptions

SIZES = st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 40), st.integers(1, 40))


def shapes(values):
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def test_input_outputs_and_everything_between_are_fixed(model):
    fixed = specialise(model, BuildOptions((2, 3, 33, 47)))
    onnx.checker.check_model(fixed, full_check=True)
    assert shapes(fixed.graph.input) == {"input": [2, 3, 33, 47]}
    assert shapes(fixed.graph.output) == {"logits": [2, 5, 33, 47]}
    assert shapes(fixed.graph.value_info)["cell"] == [2, 16, 17, 24]


def test_weights_names_and_metadata_are_untouched(model):
    before, after = onnx.load(model), specialise(model, BuildOptions((1, 3, 9, 9)))
    assert after.graph.initializer == before.graph.initializer
    assert after.graph.node == before.graph.node
    assert after.metadata_props == before.metadata_props


def test_open_sizes_stay_open(model):
    open_sizes = BuildOptions((1, 3, 33, 47), dynamic_height_width=True)
    assert specialise(model, open_sizes) == onnx.load(model)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shape=SIZES)
def test_every_size_gives_the_shape_that_runs(model, shape):
    ort = pytest.importorskip("onnxruntime")
    fixed = specialise(model, BuildOptions(shape))
    session = ort.InferenceSession(fixed.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": np.zeros(shape, np.float32)})
    assert list(logits.shape) == shapes(fixed.graph.output)["logits"]


def test_the_same_model_gives_the_same_bytes(model, folder):
    for name in ("a.onnx", "b.onnx"):
        write_model(specialise(model, BuildOptions((1, 3, 8, 8))), folder / name)
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((1, 4, 32, 32), "3 where 4 was asked"), ((1, 3, 32), "4 dimensions, not 3")],
)
def test_a_size_that_the_model_does_not_take_is_refused(model, shape, sentence):
    with pytest.raises(BadInput, match=sentence):
        specialise(model, BuildOptions(shape))


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\xff this is not protobuf")
    with pytest.raises(BadInput, match=r"model\.onnx is not an ONNX file"):
        specialise(path, BuildOptions((1, 3, 8, 8)))


def test_an_output_of_another_size_than_the_input_gets_its_own(model, tmp_path):
    """The compiler calls every output's sizes N, H and W, also of a map at half the size."""
    half = onnx.load(model)
    size = onnx.TensorProto.FLOAT, ["N", 16, "H", "W"]
    half.graph.output.append(onnx.helper.make_tensor_value_info("cell", *size))
    onnx.save(half, tmp_path / "half.onnx")
    fixed = specialise(tmp_path / "half.onnx", BuildOptions((2, 3, 33, 47)))
    assert shapes(fixed.graph.output)["cell"] == [2, 16, 17, 24]
