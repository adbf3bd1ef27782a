"""A foreign ONNX file is read whole and alone, or refused in one sentence."""

import os
import tracemalloc
from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from datac.errors import BadInput
from exporters import onnx_file
from exporters.onnx_file import read_onnx


def tiny_model():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Identity", ["b"], ["y"], "last"),
    ]
    size = TensorProto.FLOAT, ["N", 2, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", *size)],
        [helper.make_tensor_value_info("y", *size)],
        [numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def saved(tmp_path):
    def save(model):
        path = tmp_path / "model.onnx"
        content = model if isinstance(model, bytes) else model.SerializeToString()
        path.write_bytes(content)
        return path

    return save


def test_a_sound_file_is_read_as_it_is(saved):
    assert read_onnx(saved(tiny_model())) == tiny_model()


def test_operations_of_a_declared_domain_are_the_targets_business(saved):
    model = tiny_model()
    model.graph.node[1].domain, model.graph.node[1].op_type = "example.org", "Frobnicate"
    model.opset_import.append(helper.make_opsetid("example.org", 1))
    assert read_onnx(saved(model)) == model


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6, dtype=np.float16),
        np.array(3, np.int64),
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        np.array([1j], np.complex64),
        np.array([1, 2], np.uint32),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_every_way_to_store_a_tensor_fits_its_declaration(saved, values, raw):
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    content = values.tobytes() if raw else values.flatten().tolist()
    model = tiny_model()
    model.graph.initializer.append(helper.make_tensor("more", kind, values.shape, content, raw=raw))
    assert read_onnx(saved(model)) == model


# ---- damage --------------------------------------------------------------------------------------


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def external_in_a_nested_graph(model):
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    external_tensor = TensorProto()
    external_tensor.CopyFrom(tensor)
    external_tensor.data_location = TensorProto.EXTERNAL
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=external_tensor)], "i", [], []
    )
    model.graph.node[1].attribute.append(helper.make_attribute("body", inner))


def huge(model):
    model.graph.initializer[0].dims[:] = [2_500_000_000, 1, 1, 1]


def huge_without_data(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [2**40, 2**40]


def negative(model):
    model.graph.initializer[0].dims[:] = [-2, -2, 1, 1]


def unknown_type(model):
    model.graph.initializer[0].data_type = 99


def later_opset(model):
    model.opset_import[0].version = 999


def no_opset(model):
    del model.opset_import[:]


def undeclared_domain(model):
    model.graph.node[1].domain = "example.org"


def unknown_operation(model):
    model.graph.node[1].op_type = "Frobnicate"


def circle(model):
    model.graph.node[0].input[0] = "b"


def dangling(model):
    model.graph.node[1].input[0] = "nowhere"


def no_output(model):
    model.graph.output[0].name = "z"


def twice(model):
    model.graph.node.insert(2, helper.make_node("Relu", ["x"], ["b"], "again"))


def too_few_operands(model):
    del model.graph.node[1].input[:]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (external, "tensor w lies in another file, which is never opened"),
        (external_in_a_nested_graph, "tensor t lies in another file"),
        (huge, r"tensor w declares 2500000000x1x1x1, 10000000000 bytes, but holds 16"),
        (huge_without_data, "tensor w declares .* but holds 0 values"),
        (negative, "tensor w declares a negative size"),
        (unknown_type, "tensor w has the unknown type 99"),
        (later_opset, r"is of opset 999; the onnx package here knows 1 to \d+"),
        (no_opset, "is of opset 0"),
        (undeclared_domain, "node relu is of the domain example.org, which the file does not"),
        (unknown_operation, "is not sound ONNX: .*Frobnicate"),
        (circle, "node conv reads b before it is made: the nodes form a circle"),
        (dangling, "node relu reads nowhere, which nothing makes"),
        (no_output, "nothing makes the output z"),
        (twice, "is not sound ONNX: "),
        (too_few_operands, "is not sound ONNX: "),
    ],
)
def test_a_damaged_model_is_refused_in_one_sentence(saved, damage, sentence):
    model = tiny_model()
    damage(model)
    with pytest.raises(BadInput, match=sentence) as refusal:
        read_onnx(saved(model))
    assert "\n" not in str(refusal.value)


def test_a_declared_size_allocates_nothing(saved):
    model = tiny_model()
    huge(model)
    path = saved(model)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput):
            read_onnx(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"", b"\x08\xff this is not protobuf", b"PK\x03\x04", b"{}"])
def test_what_is_no_onnx_is_refused(saved, content):
    with pytest.raises(BadInput, match=r"model\.onnx is not an ONNX file"):
        read_onnx(saved(content))


def test_missing_files_folders_pipes_and_devices_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read_onnx(tmp_path / "model.onnx")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", onnx_file.Path(os.devnull)):
        with pytest.raises(BadInput, match="is not a regular file"):
            read_onnx(path)


def test_a_file_above_the_limit_is_not_read(saved, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST_BYTES", 50)
    with pytest.raises(BadInput, match="larger than 2 GB"):
        read_onnx(saved(tiny_model()))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_bytes_changed_or_cut_off_give_a_model_or_a_sentence(saved, data):
    content = bytearray(tiny_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    # Whatever else it might raise would be a bug.
    with suppress(BadInput):
        assert isinstance(read_onnx(saved(bytes(content))), onnx.ModelProto)
