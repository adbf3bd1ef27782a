"""`model.onnx` alone: from genotype and weights to a checked file, with nothing built or run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compiler.graph import Graph
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.path_reader import read_paths
from exporters.targets.specialise import write_model


@dataclass(frozen=True)
class Emitted:
    """What stands in the file."""

    paths: int
    nodes: int
    size_bytes: int


def emit(graph: Graph, genotype: Genotype, network: Network, out: Path) -> Emitted:
    """Write the canonical ONNX of a network, once ONNX's checker and the path reader agree to it.

    graph: with weights, batch norms not folded. BadInput where `out` cannot be written.
    """
    model = canonical_onnx(canonical_graph(graph), genotype, network)
    reading = read_paths(model, genotype, network)
    if reading.differences:
        raise AssertionError(f"emitted another network: {reading.differences[0]}")
    try:
        write_model(model, out)
    except OSError as error:
        raise BadInput(f"{out} cannot be written: {error.strerror or error}") from error
    return Emitted(reading.found, len(model.graph.node), out.stat().st_size)
