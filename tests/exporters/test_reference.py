"""The reference of a build: its outputs, what it predicts, and its file."""

import io
import pickle
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from compiler.lower import lower
from compiler.torch_module import GraphModule, load_weights
from datac.documents.profile import only
from datac.errors import BadInput
from exporters.canonical import canonical_graph
from exporters.float64 import make_reference
from exporters.initialise import initialise
from exporters.reference import Case, Reference, load_reference


@pytest.fixture
def reference():
    draw = np.random.default_rng(0)
    cases = tuple(
        Case(
            name,
            draw.standard_normal(shape).astype(np.float32),
            {"logits": draw.standard_normal((shape[0], 5)), "auxiliary/2": np.zeros((1, 2))},
        )
        for name, shape in (("val-0.png", (1, 3, 8, 8)), ("odd-size", (2, 3, 7, 5)))
    )
    return Reference(cases, {"logits": 1e-7, "auxiliary/2": 0.0})


def test_it_comes_back_as_it_was_saved(reference, tmp_path):
    reference.save(tmp_path / "reference.npz")
    read = load_reference(tmp_path / "reference.npz")
    assert read.predicted_error == reference.predicted_error
    assert [case.name for case in read.cases] == [case.name for case in reference.cases]
    for one, other in zip(read.cases, reference.cases, strict=True):
        assert one.input.dtype == np.float32
        assert np.array_equal(one.input, other.input)
        for key, value in other.outputs.items():
            assert one.outputs[key].dtype == np.float64
            assert np.array_equal(one.outputs[key], value)


def test_cases_are_chosen_by_shape(reference):
    assert [case.name for case in reference.fitting(only((2, 3, 7, 5)))] == ["odd-size"]
    assert reference.fitting(None) == reference.cases
    assert reference.fitting(only((9, 9, 9, 9))) == ()
    assert reference.first((1, 3, 8, 8)).name == "val-0.png"
    with pytest.raises(BadInput, match="has no input of size 9x9x9x9; compile again"):
        reference.first((9, 9, 9, 9))


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_inside_is_refused_and_not_loaded(tmp_path):
    path, trace = tmp_path / "reference.npz", tmp_path / "trace"
    np.savez(path, **{"input/a": np.array([Touch(trace)], dtype=object)})
    with pytest.raises(BadInput, match="not the reference of a build"):
        load_reference(path)
    path.write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(BadInput, match="not the reference of a build"):
        load_reference(path)
    assert not trace.exists()


ONE = np.ones((1, 2), np.float32)


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **{name.replace("__", "/"): value for name, value in arrays.items()})
    return buffer.getvalue()


def _zip_of(name, content):
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as file:
        file.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 and no more",
        _npz(),
        _npz(input__a=ONE),
        _npz(input__a=ONE, predicted_error__logits=np.array(1e-7)),
        _npz(input__a=ONE, output__a__logits=ONE, predicted_error__logits=np.array([1, 2])),
        _npz(input__a=np.array(["text"]), output__a__logits=ONE, predicted_error__logits=1e-7),
        _zip_of("input/a.npy", b"no array"),
        _zip_of("input/a.txt", b"text"),
        b"\x93NUMPY",
        _npy(ONE),
        _zip_of("input/a.npy", _npy(ONE).replace(b"(1, 2)", b"(1, 2 ")),  # numpy: TokenError
    ],
)
def test_what_is_no_reference_is_refused(tmp_path, content):
    path = tmp_path / "reference.npz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not the reference of a build"):
        load_reference(path)


def test_what_would_unpack_to_more_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "reference.npz"
    np.savez_compressed(path, **{"input/a": np.zeros((1, 1000))})
    with pytest.raises(BadInput, match="it is compressed"):
        load_reference(path)
    monkeypatch.setattr("exporters.reference.LARGEST_BYTES", 3000)
    path.write_bytes(_npz(a=np.zeros(400, np.uint8), b=np.zeros(2000, np.uint8)))
    assert path.stat().st_size < 3000
    monkeypatch.setattr("exporters.reference.LARGEST_BYTES", path.stat().st_size)
    with ZipFile(path, "a") as file:
        file.getinfo("a.npy").file_size += 10_000
        file._didModify = True
    monkeypatch.setattr("exporters.reference.LARGEST_BYTES", path.stat().st_size)
    with pytest.raises(BadInput, match="unpacks to more than"):
        load_reference(path)


@pytest.mark.parametrize("error", [0.01, np.inf])
def test_a_prediction_that_would_pass_anything_is_refused(reference, tmp_path, error):
    path = tmp_path / "reference.npz"
    replace(reference, predicted_error={"logits": error, "auxiliary/2": 0.0}).save(path)
    with pytest.raises(BadInput, match=r"error of .* for output logits, which is not credible"):
        load_reference(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"reference\.npz"):
        load_reference(tmp_path / "reference.npz")


# ---- how it is made ---------------------------------------------------------------------------


@pytest.fixture
def drawn(genotype, networks):
    """(graph, made): a net with weights, and make_reference on two inputs."""
    graph = lower(genotype, networks.classification)
    initialise(graph, networks.classification.input, 0)
    draw = np.random.default_rng(0)
    inputs = [(n, draw.standard_normal((1, 3, 16, 16)).astype(np.float32)) for n in ("a", "b")]
    return graph, inputs, make_reference(graph, canonical_graph(graph), inputs)


def test_outputs_are_those_of_the_unfolded_net_in_float64(drawn):
    graph, inputs, reference = drawn
    module = GraphModule(graph)
    load_weights(module, graph.weights, "graph")
    module.double().eval()
    for (name, value), case in zip(inputs, reference.cases, strict=True):
        with torch.inference_mode():
            expected = module.run([torch.from_numpy(value).double()])["logits"].numpy()
        assert case.name == name
        np.testing.assert_allclose(case.outputs["logits"], expected, rtol=1e-12, atol=1e-13)


def test_the_prediction_is_of_the_order_of_float32s_rounding(drawn):
    """One rounding is at most 2^-24 = 6e-8; a net of this depth adds up to some of them."""
    _, _, reference = drawn
    assert 6e-8 < reference.predicted_error["logits"] < 6e-6


def test_the_prediction_does_not_depend_on_chance(drawn):
    graph, inputs, reference = drawn
    again = make_reference(graph, canonical_graph(graph), inputs)
    assert again.predicted_error == reference.predicted_error


def test_drawn_weights_keep_activations_in_bounds(drawn):
    _, _, reference = drawn
    for case in reference.cases:
        assert 1e-3 < np.abs(case.outputs["logits"]).max() < 1e3
