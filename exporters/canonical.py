"""genotype + network + weights → the canonical graph and its `model.onnx`.

Needs no torch, so that `datac check` can make it again anywhere and compare.
"""

from __future__ import annotations

import json

import onnx

from compiler.graph import Graph, Weights
from compiler.lower import lower
from compiler.passes import CANONICAL
from compiler.rewrite import apply
from compiler.weights import check_weights
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput
from exporters.onnx_writer import OPSET, write_onnx


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


def canonical_onnx(
    graph: Graph, genotype: Genotype, network: Network, opset: int = OPSET
) -> onnx.ModelProto:
    """`model.onnx` of a canonical graph, with what a reader of the file alone must know."""
    cells = genotype.model_dump(mode="json", include={"cells", "aggregation"})
    metadata = {
        "datac.genotype": json.dumps(cells, separators=(",", ":")),
        "datac.genotype_hash": genotype.hash,
        "datac.network": network.model_dump_json(exclude_none=True),
    }
    return write_onnx(graph, metadata, opset)
