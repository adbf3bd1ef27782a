"""ONNX files that others wrote: torch's exporters and a simplifier of names, sound and damaged."""

import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from compiler.lower import lower
from compiler.torch_module import GraphModule, load_weights
from datac.errors import BadInput
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.check_model import Claim, check_model
from exporters.initialise import initialise
from exporters.onnx_writer import write_onnx

OTHERS = ("torchscript", "dynamo")


@pytest.fixture(scope="module")
def exported(genotype, networks, tmp_path_factory):
    """(folder with NAME.onnx of each exporter, what they are)."""
    folder = tmp_path_factory.mktemp("exported")
    network = networks.classification
    graph = lower(genotype, network)
    initialise(graph, network.input, 3)
    module = GraphModule(graph)
    load_weights(module, graph.weights, "graph")
    module.eval()
    x = torch.randn(1, *network.input)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), folder / "torchscript.onnx", dynamo=False)
        pytest.importorskip("onnxscript")
        torch.onnx.export(module, (x,), folder / "dynamo.onnx", dynamo=True, verbose=False)
    model = canonical_onnx(canonical_graph(graph), genotype, network)
    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
    onnx.save(model, folder / "ours.onnx")
    return folder, Claim(genotype, network, dict(graph.weights), "drawn")


@pytest.mark.parametrize("name", [*OTHERS, "ours"])
def test_every_path_is_recognised_whatever_it_is_called(exported, name):
    folder, claim = exported
    report = check_model(folder / f"{name}.onnx", claim, threads=1)
    assert report.verdict == "pass"
    structure, (result,) = report.structure, report.targets
    assert structure.verdict == "pass"
    assert structure.paths_found == structure.paths_expected > 10
    assert (result.verdict, result.places.wrong, result.places.unseen) == ("pass", (), ())
    assert report.name == f"{name}.onnx"


def test_batch_norms_that_nobody_folded_are_sound(exported, tmp_path):
    _, claim = exported
    weights, draw = dict(claim.weights), np.random.default_rng(0)
    for name, weight in weights.items():
        if name.endswith("running_var"):
            weights[name] = (10 ** draw.uniform(-5, 0, weight.shape)).astype(np.float32)
        elif name.endswith("running_mean"):
            weights[name] = draw.standard_normal(weight.shape).astype(np.float32)
    graph = lower(claim.genotype, claim.network)
    graph.weights = weights
    onnx.save(write_onnx(graph, {}), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert "BatchNormalization" in {node.op_type for node in model.graph.node}
    report = check_model(tmp_path / "model.onnx", replace(claim, weights=weights), threads=1)
    assert report.verdict == "pass"
    assert report.targets[0].places.wrong == ()


def pad_a_pool_on_one_side(model):
    pool = next(n for n in model.graph.node if n.op_type == "AveragePool")
    next(a for a in pool.attribute if a.name == "pads").ints[:] = [0, 0, 2, 2]


def scale_a_depthwise_kernel(model):
    tensor = next(
        t for t in model.graph.initializer if len(t.dims) == 4 and t.dims[1] == 1 and t.dims[2] == 3
    )
    array = numpy_helper.to_array(tensor) * np.float32(1.05)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (pad_a_pool_on_one_side, "cell0/node3/path2/avg_pool_3x3"),
        (scale_a_depthwise_kernel, "/sep_conv_3x3: "),
    ],
)
@pytest.mark.parametrize("name", OTHERS)
def test_the_first_place_that_is_not_there_is_named(exported, tmp_path, name, damage, place):
    folder, claim = exported
    model = onnx.load(folder / f"{name}.onnx")
    damage(model)
    onnx.save(model, tmp_path / "model.onnx")
    report = check_model(tmp_path / "model.onnx", claim, threads=1)
    assert report.verdict == report.structure.verdict == "fail"
    assert place in report.structure.differences[0]
    assert "nothing in the model computes this" in report.structure.differences[0]


def test_weights_of_another_training_are_not_this_network(exported):
    folder, claim = exported
    other = {k: v * np.float32(1.1) if v.ndim == 4 else v for k, v in claim.weights.items()}
    report = check_model(
        folder / "torchscript.onnx", Claim(claim.genotype, claim.network, other, "x"), threads=1
    )
    assert report.verdict == "fail"
    assert report.structure.differences[0].startswith("stem: nothing in the model computes this")


@pytest.mark.parametrize(
    "size", [(2, 3, 16, 16), (1, 3, 24, 24), ("N", 3, 16, 16), (2, 3, "H", "W")]
)
def test_any_size_that_a_file_fixes_is_judged(exported, tmp_path, size):
    folder, claim = exported
    model = onnx.load(folder / "ours.onnx")
    for dimension, edge in zip(model.graph.input[0].type.tensor_type.shape.dim, size, strict=True):
        if isinstance(edge, int):
            dimension.dim_value = edge
    onnx.save(model, tmp_path / "model.onnx")
    report = check_model(tmp_path / "model.onnx", claim, threads=1)
    assert report.verdict == report.structure.verdict == "pass"


def test_a_place_that_is_slightly_off_fails_though_it_is_recognised(exported, tmp_path):
    """Nearer to the right value than any other is, and yet wrong."""
    folder, claim = exported
    model = onnx.load(folder / "ours.onnx")
    tensor = next(t for t in model.graph.initializer if t.name.startswith("cell1.node3.path0"))
    array = numpy_helper.to_array(tensor) * np.float32(1 + 2e-4)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    report = check_model(tmp_path / "model.onnx", claim, threads=1)
    assert report.structure.verdict == "pass"
    assert report.verdict == "fail"
    assert "cell1/node3/path0/sep_conv_3x3 is off by" in report.targets[0].reason


def test_what_is_no_network_of_an_image_is_refused(exported, tmp_path):
    folder, claim = exported
    model = onnx.load(folder / "torchscript.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BadInput, match="with 4 channels, not"):
        check_model(tmp_path / "model.onnx", claim)
    del model.graph.output[:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BadInput, match="has no output"):
        check_model(tmp_path / "model.onnx", claim)
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(BadInput, match="not an ONNX file"):
        check_model(tmp_path / "no.onnx", claim)


# ---- weights in a second file -------------------------------------------------------------------


@pytest.fixture
def external(exported, tmp_path):
    """external(location=..., length=...): a file whose weights lie in `weights.bin`."""
    folder, _ = exported

    def save(**changed):
        model = onnx.load(folder / "torchscript.onnx")
        onnx.save_model(
            model,
            tmp_path / "model.onnx",
            save_as_external_data=True,
            location="weights.bin",
            size_threshold=0,
        )
        model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            entry.value = str(changed.get(entry.key, entry.value))
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "model.onnx"

    return save


def test_a_file_beside_the_model_is_read_in(exported, external):
    assert check_model(external(), exported[1], threads=1).verdict == "pass"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"location": "../weights.bin"}, "is not a file beside the model"),
        ({"location": "/etc/passwd"}, "is not a file beside the model"),
        ({"location": ""}, "is not a file beside the model"),
        ({"location": "x" * 300}, "is not a file beside the model"),
        ({"location": "none.bin"}, "there is no such file"),
        ({"length": 10**12}, "lies beyond the end of its file"),
        ({"offset": -4}, "lies beyond the end of its file"),
        ({"offset": "x"}, "lies at no number of bytes"),
        ({"length": 4}, "but its file holds 4 for it"),
    ],
)
def test_what_leads_elsewhere_or_holds_less_is_refused(exported, external, changed, said):
    with pytest.raises(BadInput, match=said):
        check_model(external(**changed), exported[1], threads=1)


def test_a_link_beside_the_model_is_not_followed(exported, external, tmp_path):
    path = external()
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere.bin")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(BadInput, match="is not a file beside the model"):
        check_model(path, exported[1], threads=1)
