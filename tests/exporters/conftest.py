"""One tiny build of each task, made once; a test that damages a build damages its own copy.

Tests import `played_tensorrt` by name.
"""

import json
import pathlib
import shutil
import sys
from hashlib import sha256
from types import SimpleNamespace

import pytest
import torch

from datac.documents.genotype import Cell, Genotype, Node, Path
from datac.documents.network import DEFAULTS, Network
from exporters.export import compile_genotype
from exporters.request import Request

sys.path.insert(0, str(pathlib.Path(__file__).parent))


def cell(*nodes, output=(2, 3)):
    return Cell(
        nodes=tuple(Node(paths=tuple(Path(operation=o, input=i) for o, i in n)) for n in nodes),
        output=output,
    )


NORMAL = cell(
    [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("max_pool_3x3", 1)],
    [("dil_conv_3x3", 2), ("skip_connect", 0), ("avg_pool_3x3", 0)],
)
REDUCTION = cell([("max_pool_3x3", 0), ("skip_connect", 1)], [("sep_conv_3x3", 2)])


@pytest.fixture(scope="session")
def genotype():
    """Two nodes a cell; two separable convolutions with weights of equal shapes."""
    return Genotype(cells={"normal": NORMAL, "reduction": REDUCTION})


def network_of(skeleton, **sizes):
    return Network.model_validate({**dict(DEFAULTS[skeleton]), **sizes})


@pytest.fixture(scope="session")
def networks():
    """Both tasks, at sizes that run in milliseconds."""
    tiny = {"channels": 4, "cells": 3, "classes": 3}
    return SimpleNamespace(
        classification=network_of("cifar", input=(3, 16, 16), **tiny),
        segmentation=network_of("segmentation", input=(3, 32, 32), head_channels=4, **tiny),
    )


@pytest.fixture(scope="session")
def compiled(genotype, networks, tmp_path_factory):
    """(folder, report) of a classification build with three engines that run."""
    out = tmp_path_factory.mktemp("compiled") / "build"
    request = Request(("onnx", "openvino", "torch"), out, threads=1, bench_seconds=0.05)
    return out, compile_genotype(genotype, networks.classification, None, request)


@pytest.fixture
def compile_tiny(genotype, networks, tmp_path):
    """compile_tiny("onnx", weights=...): a build in a folder of its own, without latencies."""

    def make(*targets, weights=None, task="classification", **settings):
        settings = {"out": tmp_path / "build", "threads": 1, "bench_seconds": 0.0} | settings
        request = Request(targets, **settings)
        return compile_genotype(genotype, getattr(networks, task), weights, request)

    return make


@pytest.fixture
def build(compiled, tmp_path):
    """A copy of the build, to be damaged."""
    return shutil.copytree(compiled[0], tmp_path / "build")


@pytest.fixture
def update_manifest():
    """Make the manifest agree with what now stands in the folder, as a clever intruder would."""

    def update(folder, *names):
        manifest = json.loads((folder / "manifest.json").read_text())
        for name in names:
            content = (folder / name).read_bytes()
            manifest["files"][name]["sha256"] = sha256(content).hexdigest()
            manifest["files"][name]["size_bytes"] = len(content)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return update


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Nets this small only wait for one another on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
