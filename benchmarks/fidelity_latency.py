"""The latency of a trained net in ONNX Runtime, beside one net that is the same in all runs.

Runs share the machine with others, so milliseconds are those of a busy machine; the ratio to the
other net, measured in turn, is what can be compared.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from compiler.graph import Weights
from compiler.lower import INPUT, lower
from compiler.torch_module import GraphModule
from compiler.weights import read_weights_file
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.read import read_genotype
from exporters.canonical import bound_graph, canonical_graph, canonical_onnx
from exporters.measure import measure
from exporters.targets.onnx import CpuRunner
from exporters.targets.specialise import specialise_model
from exporters.targets.target import BuildOptions

REFERENCE = "data-m4"
"""A published cell, with weights drawn from a seed."""

SECONDS = 3.0
THREADS = 1


def child_model(genotype: Genotype, network: Network, weights: Path) -> onnx.ModelProto:
    """As `datac compile` makes it, with the weights of a file."""
    return _model(genotype, network, read_weights_file(weights))


def published_model(network: Network) -> onnx.ModelProto:
    """The reference at the sizes of `network`."""
    genotype = read_genotype(REFERENCE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = GraphModule(lower(genotype, network)).state_dict()
    return _model(genotype, network, {name: value.numpy() for name, value in state.items()})


def _model(genotype: Genotype, network: Network, weights: Weights) -> onnx.ModelProto:
    graph = canonical_graph(bound_graph(genotype, network, weights, REFERENCE))
    model = canonical_onnx(graph, genotype, network)
    return specialise_model(model, BuildOptions((1, *network.input)), "model.onnx")


def latencies_ms(
    model: onnx.ModelProto, reference: onnx.ModelProto, shape: tuple[int, int, int]
) -> tuple[float, float]:
    """The medians of one image through both, in interleaved rounds."""
    image = np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        runners = {}
        for name, each in (("own", model), ("reference", reference)):
            path = Path(folder) / f"{name}.onnx"
            onnx.save_model(each, path)
            runners[name] = CpuRunner(path, THREADS)
        found = measure(runners, {INPUT: image}, budget_seconds=SECONDS)
    return found["own"].median, found["reference"].median
