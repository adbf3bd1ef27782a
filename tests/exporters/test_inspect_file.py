"""A genotype recovered from an ONNX: from its metadata, or from names and wires."""

import json

import onnx
import pytest

from compiler.lower import lower
from datac.cli import run
from datac.documents.genotype import Genotype
from datac.errors import BadInput
from datac.published import NAMES, load
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.initialise import initialise
from exporters.inspect_file import inspect_file


@pytest.fixture(params=NAMES)
def published(request, networks, tmp_path):
    """(genotype, file) of each published cell."""
    genotype = load(request.param)
    network = networks.classification.model_copy(update={"cells": 8})
    graph = lower(genotype, network)
    initialise(graph, network.input, 0)
    model = canonical_onnx(canonical_graph(graph), genotype, network)
    onnx.save(model, tmp_path / "model.onnx")
    return genotype, tmp_path / "model.onnx"


def strip(path):
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def live(genotype):
    """What a network holds of it: nodes that nothing reads are not in the file."""
    cells = {
        kind: [(number, node.paths) for number, node in cell.numbered() if number in cell.used()]
        for kind, cell in genotype.cells.items()
    }
    return cells, {kind: cell.output for kind, cell in genotype.cells.items()}


def test_metadata_gives_the_whole_genotype(published):
    genotype, path = published
    found = inspect_file(path)
    assert found.genotype.hash == genotype.hash
    assert found.genotype.network is not None
    assert found.source == "its metadata"


def test_names_and_wires_give_every_cell(published):
    genotype, path = published
    strip(path)
    found = inspect_file(path)
    assert found.source == "the names of its nodes"
    (cells, outputs), (right, right_outputs) = live(found.genotype), live(genotype)
    assert outputs == right_outputs
    assert cells == right
    assert found.genotype.aggregation == genotype.aggregation


def anonymous(path):
    """The file with every name of a node or value replaced by a number."""
    model = onnx.load(path)
    graph, names = model.graph, {}
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    for index, node in enumerate(graph.node):
        node.name = str(index)
        for values in (node.input, node.output):
            values[:] = [v if v in kept else names.setdefault(v, str(len(names))) for v in values]
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, str(len(names)))
    del graph.value_info[:]
    onnx.save(model, path)


def nameless(genotype, network, folder):
    """A file of the network without metadata and names."""
    graph = lower(genotype, network)
    initialise(graph, network.input, 0)
    path = folder / "model.onnx"
    onnx.save(canonical_onnx(canonical_graph(graph), genotype, network), path)
    strip(path)
    anonymous(path)
    return path


def renumbered(cell):
    """A cell without the nodes that nothing reads, the others numbered anew."""
    used = [number for number, _ in cell.numbered() if number in cell.used()]
    number = {0: 0, 1: 1} | {old: 2 + new for new, old in enumerate(used)}
    nodes = tuple(
        tuple((path.operation, number[path.input]) for path in node.paths)
        for old, node in cell.numbered()
        if old in used
    )
    return nodes, tuple(number[node] for node in cell.output)


def test_structure_alone_gives_every_cell(published):
    genotype, path = published
    strip(path)
    anonymous(path)
    found = inspect_file(path)
    assert found.source == "the structure of its cells"
    for kind, cell in genotype.cells.items():
        assert renumbered(found.genotype.cells[kind]) == renumbered(cell), kind
    assert found.genotype.aggregation == genotype.aggregation


def test_structure_alone_gives_a_segmentation_nets_cells(genotype, networks, tmp_path):
    for aggregation in ("sum", "mean"):
        wanted = genotype.model_copy(update={"aggregation": aggregation})
        graph = lower(wanted, networks.segmentation.model_copy(update={"cells": 6}))
        initialise(graph, networks.segmentation.input, 0)
        path = tmp_path / f"{aggregation}.onnx"
        onnx.save(canonical_onnx(canonical_graph(graph), wanted, networks.segmentation), path)
        strip(path)
        anonymous(path)
        found = inspect_file(path).genotype
        assert found.aggregation == aggregation
        for kind, cell in wanted.cells.items():
            assert renumbered(found.cells[kind]) == renumbered(cell), kind


def test_a_file_whose_cells_all_reduce_holds_half_a_genotype(genotype, networks, tmp_path):
    network = networks.classification.model_copy(update={"cells": 2})
    path = nameless(genotype, network, tmp_path)
    with pytest.raises(BadInput, match="has no two kinds of cell"):
        inspect_file(path)


def test_a_cell_that_is_missing_is_told(genotype, networks, tmp_path):
    """Of three cells the second is not read where the reduction cell reads but the one before."""
    reduction = genotype.cells["reduction"]
    nodes = tuple(
        node.model_copy(
            update={
                "paths": tuple(
                    path.model_copy(update={"input": 0}) if path.input < 2 else path
                    for path in node.paths
                )
            }
        )
        for node in reduction.nodes
    )
    cells = genotype.cells | {"reduction": reduction.model_copy(update={"nodes": nodes})}
    genotype = Genotype.model_validate({"cells": {k: c.model_dump() for k, c in cells.items()}})
    network = networks.classification.model_copy(update={"cells": 3})
    path = nameless(genotype, network, tmp_path)
    with pytest.raises(BadInput, match="one that nothing reads is missing"):
        inspect_file(path)


def test_cells_that_differ_are_of_no_genotype(published):
    _, path = published
    strip(path)
    anonymous(path)
    model = onnx.load(path)
    concats = [n for n in model.graph.node if n.op_type == "Concat" and len(n.input) > 2]
    concats[0].input[:] = reversed(concats[0].input)
    onnx.save(model, path)
    with pytest.raises(BadInput, match="its normal cells differ"):
        inspect_file(path)


def test_an_engine_is_described_and_its_file_compared(build):
    place = build / "engines" / "onnx-f32"
    assert inspect_file(place / "engine.json").facts["engine"] == "model.onnx, as described"
    with (place / "model.onnx").open("ab") as file:
        file.write(b"x")
    assert inspect_file(place / "engine.json").facts["engine"] == "model.onnx, another file"
    (place / "model.onnx").unlink()
    assert inspect_file(place / "engine.json").facts["engine"] == "model.onnx, missing"


def test_what_tells_nothing_or_contradicts_itself_is_refused(build, tmp_path):
    path = build / "model.onnx"
    model = onnx.load(path)
    next(p for p in model.metadata_props if p.key == "datac.genotype_hash").value = "0" * 64
    onnx.save(model, path)
    with pytest.raises(BadInput, match="has another hash than it says"):
        inspect_file(path)
    next(p for p in model.metadata_props if p.key == "datac.genotype").value = "{"
    onnx.save(model, path)
    with pytest.raises(BadInput, match="holds no genotype that can be read"):
        inspect_file(path)
    strip(path)
    anonymous(path)
    model = onnx.load(path)
    del model.graph.node[10:]
    model.graph.output[0].name = model.graph.node[-1].output[0]
    onnx.save(model, path)
    with pytest.raises(BadInput, match="carries no genotype: neither metadata nor names"):
        inspect_file(path)
    with pytest.raises(BadInput, match="is a folder"):
        inspect_file(build)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BadInput, match="schema"):
        inspect_file(tmp_path / "x.json")


def test_the_command_prints_facts_or_the_document(build, capsys):
    assert run(["inspect", str(build / "model.onnx"), "--json"]) == 0
    found = Genotype.model_validate_json(capsys.readouterr().out)
    assert found.hash == json.loads((build / "manifest.json").read_text())["genotype_hash"]
    assert run(["inspect", str(build / "model.onnx")]) == 0
    assert "genotype       from its metadata" in capsys.readouterr().out
    assert run(["inspect", str(build / "engines/onnx-f32/engine.json"), "--json"]) == 2
    assert "carries no genotype" in capsys.readouterr().err
