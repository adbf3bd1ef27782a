"""The ONNX of a published cell's ImageNet network, at the published size and at an odd one."""

import numpy as np
import pytest
import torch

from compiler.lower import lower
from compiler.torch_module import GraphModule, load_weights
from datac.documents.network import DEFAULTS, Network
from datac.published import load
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.initialise import initialise
from exporters.targets.onnx import CpuRunner
from exporters.targets.specialise import write_model


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(module, runner) of data-m7 with 8 channels and 5 cells: the structure, in seconds."""
    sizes = {"channels": 8, "cells": 5}
    network = Network.model_validate({**dict(DEFAULTS["imagenet"]), **sizes})
    genotype = load("data-m7")
    graph = lower(genotype, network)
    initialise(graph, (3, 64, 64), 0)
    module = GraphModule(graph)
    load_weights(module, graph.weights, "graph")
    path = tmp_path_factory.mktemp("any-size") / "model.onnx"
    write_model(canonical_onnx(canonical_graph(graph), genotype, network), path)
    with CpuRunner(path, 1) as runner:
        yield module.eval(), runner


@pytest.mark.parametrize("size", [(224, 224), (225, 187)], ids="{0[0]}x{0[1]}".format)
def test_one_file_agrees_with_torch_at_every_size(built, size):
    module, runner = built
    x = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    with torch.inference_mode():
        expected = module.run([torch.from_numpy(x)])["logits"].numpy()
    answer = runner.run({"input": x})["logits"]
    assert answer.shape == (1, 1000)
    assert np.abs(answer - expected).max() < 1e-4 * np.abs(expected).max()
