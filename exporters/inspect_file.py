"""What a file of a build is, read from the file alone: an ONNX, or the side-car of an engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
from pydantic import ValidationError

from datac.documents.build_folder import SIDE_CAR, SideCar
from datac.documents.genotype import FIRST_NODE, Cell, CellKind, Genotype, Node
from datac.documents.genotype import Path as GenotypePath
from datac.documents.network import Network
from datac.documents.read import read_json
from datac.documents.sentences import counted
from datac.errors import BadInput
from exporters.build_folder import sha256
from exporters.onnx_file import read_onnx
from exporters.recover import genotype_from_structure

PATH = re.compile(r"cell(\d+)/node(\d+)/path(\d+)/([^/]+)/")
NODE = re.compile(r"cell(\d+)/node(\d+)/[^/]+$")
PREPROCESS = re.compile(r"cell(\d+)/preprocess([01])/")


@dataclass(frozen=True)
class Inspection:
    """What was found. facts: a word for each, to be printed. source: of the genotype, in words."""

    genotype: Genotype | None
    source: str
    facts: dict[str, str]


def inspect_file(path: Path) -> Inspection:
    """BadInput for a file that is neither, or whose genotype cannot be told."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name a file in it: model.onnx, or an {SIDE_CAR}")
    if path.name.endswith(".json"):
        return _side_car(path)
    if path.with_name(SIDE_CAR).is_file() and path.suffix != ".onnx":
        return _side_car(path.with_name(SIDE_CAR))
    return _onnx(path)


def _side_car(path: Path) -> Inspection:
    car = read_json(path, SideCar)
    engine = path.parent / car.engine
    if not engine.is_file():
        state = "missing"
    else:
        state = "as described" if sha256(engine) == car.engine_sha256 else "another file"
    facts = {
        "target": f"{car.target} {car.precision}",
        "engine": f"{car.engine}, {state}",
        "device": car.device,
        "versions": ", ".join(f"{key} {value}" for key, value in car.versions.items()),
        "input": "x".join(map(str, car.input_shape)),
        "network": _network_words(car.network),
        "genotype hash": car.genotype_hash,
        "made from": f"model.onnx {car.model_sha256[:12]}",
    }
    if car.float32_nodes:
        facts["in float32"] = ", ".join(car.float32_nodes)
    return Inspection(None, "", facts)


def _onnx(path: Path) -> Inspection:
    model = read_onnx(path, beside=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    facts = {
        "producer": " ".join((model.producer_name, model.producer_version)).strip() or "unknown",
        "opset": str(next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))),
        "nodes": str(len(model.graph.node)),
        "weights": f"{sum(map(_size, model.graph.initializer)):,} values",
    }
    genotype = _from_metadata(metadata, path)
    source = "its metadata"
    if genotype is None and any(PATH.match(node.name) for node in model.graph.node):
        genotype, source = genotype_from_names(model.graph.node, path), "the names of its nodes"
    elif genotype is None:
        genotype, source = genotype_from_structure(model, path), "the structure of its cells"
    if genotype.network is not None:
        facts["network"] = _network_words(genotype.network)
    facts["genotype hash"] = genotype.hash
    return Inspection(genotype, source, facts)


def _from_metadata(metadata: dict[str, str], path: Path) -> Genotype | None:
    """BadInput where the metadata contradicts itself."""
    if "datac.genotype" not in metadata:
        return None
    try:
        cells = json.loads(metadata["datac.genotype"])
        genotype = Genotype.model_validate(cells)
        if "datac.network" in metadata:
            network = Network.model_validate_json(metadata["datac.network"])
            genotype = genotype.model_copy(update={"network": network})
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{path}: its metadata holds no genotype that can be read") from error
    if metadata.get("datac.genotype_hash", genotype.hash) != genotype.hash:
        raise BadInput(f"{path}: the genotype in its metadata has another hash than it says")
    return genotype


# ---- from the names ------------------------------------------------------------------------------


def genotype_from_names(nodes: Iterable[onnx.NodeProto], path: Path) -> Genotype:
    """The cells that the names of the nodes and their wires tell; BadInput where they do not.

    Every node that datac writes bears its place: `cell3/node2/path0/sep_conv_3x3/relu0`.
    """
    nodes = list(nodes)
    makers = {name: node for node in nodes for name in node.output}
    found: dict[int, dict[int, dict[int, GenotypePath]]] = {}
    outputs: dict[int, tuple[int, ...]] = {}
    for node in nodes:
        match = PATH.match(node.name)
        if match is not None:
            cell, number, index = (int(match[i]) for i in (1, 2, 3))
            source = _source(node, match[0], makers)
            if source is not None:
                paths = found.setdefault(cell, {}).setdefault(number, {})
                paths[index] = GenotypePath(operation=match[4], input=source)
        elif re.fullmatch(r"cell\d+/concat", node.name):
            numbers = [NODE.match(name) for name in node.input]
            if all(numbers):
                outputs[int(node.name[4:-7])] = tuple(int(n[2]) for n in numbers if n)
    if not found or found.keys() - outputs.keys():
        raise BadInput(
            f"{path} carries no genotype: neither metadata nor names that datac gives; "
            "datac check judges such a file against a genotype and weights"
        )
    mean = any(node.name.endswith("/mean") for node in nodes)
    return _genotype(found, outputs, "mean" if mean else "sum", path)


def _source(node: onnx.NodeProto, prefix: str, makers: dict[str, onnx.NodeProto]) -> int | None:
    """Which input of its cell a node reads, if it reads one at all."""
    cell = prefix.partition("/")[0]
    for name in node.input:
        maker = makers.get(name)
        if maker is None or maker.name.startswith(prefix):
            continue
        before = PREPROCESS.match(maker.name)
        if before is not None and maker.name.startswith(f"{cell}/"):
            return int(before[2])
        other = NODE.match(maker.name)
        if other is not None and maker.name.startswith(f"{cell}/"):
            return int(other[2])
    return None


def _genotype(
    found: dict[int, dict[int, dict[int, GenotypePath]]],
    outputs: dict[int, tuple[int, ...]],
    aggregation: str,
    path: Path,
) -> Genotype:
    cells: dict[CellKind, Cell] = {}
    count = max(found) + 1
    for index, nodes in found.items():
        kind: CellKind = "reduction" if index in (count // 3, 2 * count // 3) else "normal"
        last = max(nodes)
        made = Cell(
            nodes=tuple(
                Node(paths=tuple(p for _, p in sorted(nodes.get(number, {}).items())))
                for number in range(FIRST_NODE, last + 1)
            ),
            output=outputs[index],
        )
        if cells.setdefault(kind, made) != made:
            raise BadInput(f"{path}: its {kind} cells differ, so they are of no one genotype")
    if len(cells) < 2:
        raise BadInput(f"{path} has no two kinds of cell to tell a genotype from")
    return Genotype.model_validate({"cells": cells, "aggregation": aggregation})


def _size(tensor: onnx.TensorProto) -> int:
    size = 1
    for edge in tensor.dims:
        size *= edge
    return size


def _network_words(network: Network) -> str:
    return (
        f"{network.skeleton}, {counted(network.channels, 'channel')}, "
        f"{counted(network.cells, 'cell')}, {counted(network.classes, 'class', 'classes')}, "
        f"input {'x'.join(map(str, network.input))}"
    )
