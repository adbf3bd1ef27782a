"""genotype + network + weights → the canonical graph and its `model.onnx`.

Needs no torch, so that `datac check` can make it again anywhere and compare.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from safetensors import SafetensorError
from safetensors.numpy import load_file

from compiler.graph import Graph, Weights
from compiler.lower import lower
from compiler.passes import CANONICAL
from compiler.rewrite import apply
from compiler.weights import check_weights
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput
from exporters.onnx_writer import write_onnx

LARGEST_WEIGHTS = 2**31
"""Bytes. A larger file cannot become one ONNX file."""


def read_weights_file(path: Path) -> Weights:
    """The tensors of a safetensors file; BadInput for anything else, a pickle above all."""
    try:
        if not path.is_file():
            raise BadInput(f"{path}: there is no such file")
        if path.stat().st_size > LARGEST_WEIGHTS:
            raise BadInput(f"{path} is larger than 2 GB, the limit of one ONNX file")
        with path.open("rb") as file:
            start = file.read(4)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise BadInput(
                f"{path} is a pickle, which can run code when it is read; save the state dict with "
                "safetensors.torch.save_file and give that file"
            )
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path} is not a safetensors file ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        # A type that numpy lacks, such as bfloat16.
        raise BadInput(f"{path} holds tensors of a type other than float32 ({error})") from error


def bound_graph(genotype: Genotype, network: Network, weights: Weights, source: str) -> Graph:
    """The child's graph with these weights; BadInput names the first tensor that does not fit."""
    graph = lower(genotype, network)
    specs = graph.weight_specs()
    check_weights({name: spec.shape for name, spec in specs.items()}, weights, source)
    for name, spec in specs.items():
        if weights[name].dtype != spec.dtype:
            raise BadInput(f"{source}: tensor {name} is {weights[name].dtype}, not {spec.dtype}")
    graph.weights = {name: weights[name] for name in specs}
    return graph


def canonical_graph(graph: Graph) -> Graph:
    """Batch norms folded, nothing else."""
    return apply(graph, CANONICAL)[0]


def canonical_onnx(graph: Graph, genotype: Genotype, network: Network) -> onnx.ModelProto:
    """`model.onnx` of a canonical graph, with what a reader of the file alone must know."""
    cells = genotype.model_dump(mode="json", include={"cells", "aggregation"})
    metadata = {
        "datac.genotype": json.dumps(cells, separators=(",", ":")),
        "datac.genotype_hash": genotype.hash,
        "datac.network": network.model_dump_json(exclude_none=True),
    }
    return write_onnx(graph, metadata)
