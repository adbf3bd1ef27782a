"""Weights that a compile is given: what fits comes through, what does not is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from compiler.weights import read_weights_file
from datac.errors import BadInput


@pytest.fixture
def weights(compiled, tmp_path):
    """(tensors, save): the tensors of the build, and how to write them to a file again."""
    tensors = load_file(compiled[0] / "weights.safetensors")

    def save(changed):
        path = tmp_path / "given.safetensors"
        save_file(changed, path)
        return path

    return tensors, save


def test_given_weights_come_through_bit_for_bit(compile_tiny, weights, tmp_path):
    tensors, save = weights
    report = compile_tiny("torch", weights=save(tensors))
    assert report.weights.endswith("given.safetensors")
    written = load_file(tmp_path / "build" / "weights.safetensors")
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)


def _without(tensors):
    return {name: tensor for name, tensor in tensors.items() if name != "head.linear.bias"}


def _one_more(tensors):
    return tensors | {"head.extra.bias": np.zeros(3, np.float32)}


def _misshaped(tensors):
    return tensors | {"head.linear.bias": np.zeros(7, np.float32)}


def _double(tensors):
    return tensors | {"head.linear.bias": tensors["head.linear.bias"].astype(np.float64)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without, "head.linear.bias is missing"),
        (_one_more, "head.extra.bias is not part of this network"),
        (_misshaped, r"head.linear.bias has shape \(7,\), the network needs \(3,\)"),
        (_double, "head.linear.bias is float64, not float32"),
    ],
)
def test_tensors_that_do_not_fit_are_named(compile_tiny, weights, tmp_path, change, said):
    tensors, save = weights
    with pytest.raises(BadInput, match=said):
        compile_tiny("onnx", weights=save(change(tensors)))
    assert not (tmp_path / "build").exists()


def test_a_class_count_that_disagrees_with_the_weights(compile_tiny, networks, compiled):
    networks.more = networks.classification.model_copy(update={"classes": 7})
    with pytest.raises(BadInput, match="the network needs"):
        compile_tiny("onnx", task="more", weights=compiled[0] / "weights.safetensors")


class Touch:
    """A pickle that would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_and_not_loaded(compile_tiny, tmp_path, zipped):
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    torch.save({"a": Touch(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BadInput, match="pickle"):
        compile_tiny("onnx", weights=path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, (2**40).to_bytes(8, "little")])
def test_what_is_no_safetensors_file_is_refused(compile_tiny, tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="is not a safetensors file"):
        compile_tiny("onnx", weights=path)


def test_a_folder_is_no_file_of_weights(tmp_path):
    with pytest.raises(BadInput, match=r"is a folder; give the file in it: .*weights\.safetensors"):
        read_weights_file(tmp_path)


def test_bfloat16_weights_are_refused_in_one_sentence(compile_tiny, weights, tmp_path):
    tensors = {name: torch.from_numpy(tensor.copy()) for name, tensor in weights[0].items()}
    name = "head.linear.bias"
    save_torch(tensors | {name: tensors[name].bfloat16()}, tmp_path / "half.safetensors")
    with pytest.raises(BadInput, match=r"half\.safetensors"):
        compile_tiny("onnx", weights=tmp_path / "half.safetensors")


def test_weights_with_nan_fail_the_gate(compile_tiny, weights):
    tensors, save = weights
    spoiled = tensors["head.linear.bias"].copy()
    spoiled[0] = np.nan
    report = compile_tiny("onnx", weights=save(tensors | {"head.linear.bias": spoiled}))
    assert report.verdict == "fail"
    assert "NaN" in report.targets[0].reason


def test_a_net_that_answers_nothing_but_zero_passes(compile_tiny, weights):
    """The predicted relative error has no size to be relative to."""
    tensors, save = weights
    zero = {n: t * 0 for n, t in tensors.items() if n.startswith("head.linear.")}
    report = compile_tiny("onnx", weights=save(tensors | zero))
    assert report.verdict == "pass"
    assert report.targets[0].error.rms == 0
