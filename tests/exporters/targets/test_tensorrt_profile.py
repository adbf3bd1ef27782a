"""TensorRT's layers mapped to ONNX nodes, in the forms that its versions and verbosities write."""

import json
import sys

import pytest

from exporters.targets.target import BuildOptions, Engine
from exporters.targets.tensorrt import TensorRT
from exporters.targets.tensorrt_profile import covered_nodes, kernels_of

PATH = "cell3/node2/path0/sep_conv_3x3"


@pytest.mark.parametrize(
    ("layer", "nodes"),
    [
        (
            {
                "Name": f"{PATH}/pointwise0 + {PATH}/relu1",
                "Metadata": f"[ONNX Layer: {PATH}/pointwise0]\x1f[ONNX Layer: {PATH}/relu1]",
            },
            {f"{PATH}/pointwise0", f"{PATH}/relu1"},
        ),
        (
            {
                "Name": "__myl_ConvAdd_myl0_3",
                "Metadata": f"[ONNX Layer: {PATH}/pointwise1]\x1e[ONNX Layer: cell3/node2/sum]",
            },
            {f"{PATH}/pointwise1", "cell3/node2/sum"},
        ),
        ({"Name": f"{PATH}/pointwise0 + {PATH}/relu1"}, {f"{PATH}/pointwise0", f"{PATH}/relu1"}),
        (
            {"Name": f"PWN(PWN({PATH}/relu0), cell3/node2/sum/add1)"},
            {f"{PATH}/relu0", "cell3/node2/sum/add1"},
        ),
        ({"Name": f"Reformatting CopyNode for Input Tensor 0 to {PATH}/pointwise0"}, set()),
        ({"Name": "__myl_Move_myl0_1", "Metadata": ""}, set()),
        ({"Name": "{ForeignNode[head/image/pool...head/resize]}"}, set()),
    ],
)
def test_a_layer_covers_the_nodes_that_it_names(layer, nodes):
    assert covered_nodes(layer) == nodes


def test_layers_are_told_with_their_times_whether_described_or_named_alone():
    described = {"Name": "a/conv", "LayerType": "Convolution", "Metadata": "[ONNX Layer: a/conv]"}
    information = json.dumps({"Layers": [described, "b/relu"], "Bindings": ["input"]})
    times = {"a/conv": [0.25, 0.5], "b/relu": [0.125, 0.125], "unknown": [1.0, 1.0]}
    kernels = kernels_of(information, times)
    assert [(k.name, k.kind, k.covers, k.times_ms) for k in kernels] == [
        ("a/conv", "Convolution", {"a/conv"}, (0.25, 0.5)),
        ("b/relu", "", {"b/relu"}, (0.125, 0.125)),
        ("unknown", "", set(), (1.0, 1.0)),
    ]


def test_a_target_profiles_its_plan(monkeypatch, trt, plan, image):
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(TensorRT, "missing", lambda self: None)
    engine = Engine(plan.name, {"tensorrt": trt.__version__}, "cuda (played)")
    options = BuildOptions((1, 3, 4, 4))
    inputs = {"input": image((1, 3, 4, 4))}
    kernels = TensorRT().profile(plan.parent, engine, options, inputs, 3)
    assert [(k.kind, k.covers, k.times_ms) for k in kernels] == [
        ("Convolution", {"stem/conv", "stem/relu0"}, (3.0,) * 3),
        ("", {"head/conv"}, (2.0,) * 3),
    ]
