"""Paths left out: which can go, what the rest inherits, and what each is worth."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from compiler.interpreter import Interpreter
from compiler.lower import INPUT, lower
from compiler.proof import randomise
from compiler.prune import PathName, inherited, parse_place, removable, without
from datac.cli import run
from datac.cli.ablation_table import ablation_table
from datac.cli.terminal import output
from datac.datasets.shapes import classification
from datac.documents.ablation import Ablation
from datac.documents.genotype import Provenance
from datac.documents.read import check_replaceable_file, read_genotype, read_json
from datac.errors import BadInput
from datac.published import load
from exporters.ablate import Course, ablate
from exporters.export import compile_genotype
from exporters.prune import prune
from exporters.request import Request
from exporters.task import labelled_inputs

GOLDEN = Path(__file__).parents[1] / "golden/documents"


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_rest_computes_what_the_whole_does_with_the_path_at_zero(data, genotype, networks):
    """For a sum, leaving a path out is making its last weights zero, and its shift with them."""
    place = data.draw(st.sampled_from(removable(genotype)))
    network = networks.classification
    graph = lower(genotype, network)
    randomise(graph, 1)
    whole = Interpreter(without_its_sum(graph, genotype, place, network))
    weights = inherited(genotype, network, [place], graph.weights)
    smaller = lower(without(genotype, [place]), network)
    smaller.weights = weights
    x = np.random.default_rng(0).standard_normal((1, *network.input))
    left, right = (run.run({INPUT: x})["logits"] for run in (whole, Interpreter(smaller)))
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


def without_its_sum(graph, genotype, place, network):
    """The whole graph, the path's operand taken out of its node's sum, weights and all kept."""
    from compiler.graph import Graph
    from compiler.ops import Sum
    from exporters.kept import kinds_of

    kinds = kinds_of(network)
    result = Graph()
    for node in graph.nodes():
        operands = node.operands
        origin = node.origin[0] if node.origin else None
        here = origin is not None and origin.node == place.node
        if isinstance(node.op, Sum) and here and kinds[origin.cell] == place.kind:
            operands = operands[: place.path] + operands[place.path + 1 :]
        result.add(node.name, node.op, *operands, origin=node.origin)
    for key, name in graph.outputs.items():
        result.set_output(key, name)
    result.remove_dead()
    result.weights = {name: graph.weights[name] for name in result.weight_specs()}
    return result


def test_places_are_read_and_refused():
    assert parse_place("normal/node2/path0") == PathName("normal", 2, 0)
    assert parse_place("reduction/node12/path3/sep_conv_3x3") == PathName("reduction", 12, 3)
    for word in ("cell0/node2/path0", "normal/node2", "normal/node2/path-1", ""):
        with pytest.raises(BadInput, match="write it as normal/node2/path0"):
            parse_place(word)


def test_a_path_that_is_not_there_or_the_last_of_its_node_stays(genotype):
    with pytest.raises(BadInput, match=r"no such path; normal/node2 has path0 to path2$"):
        without(genotype, [PathName("normal", 2, 99)])
    with pytest.raises(BadInput, match=r"no such path; the reduction cell has node2 to node3$"):
        without(genotype, [PathName("reduction", 9, 0)])
    node = next(number for number, n in genotype.cells["normal"].numbered() if n.paths)
    count = len(genotype.cells["normal"].nodes[node - 2].paths)
    with pytest.raises(BadInput, match=f"nothing would be left for normal/node{node}"):
        without(genotype, [PathName("normal", node, index) for index in range(count)])


def test_every_path_is_priced(genotype, networks, tmp_path):
    folder, network = tmp_path / "build", networks.classification.model_copy(update={"classes": 5})
    request = Request(("onnx",), folder, threads=1, bench_seconds=0.0)
    compile_genotype(genotype, network, None, request)
    data = labelled_inputs(classification(), network, "val", 8)
    found = ablate(folder, Course("onnx-f32", data, seconds=0.5, threads=1))
    genotype = read_genotype(str(folder / "genotype.json"))
    assert {row.place for row in found.paths} == {str(place) for place in removable(genotype)}
    assert [row.saved for row in found.paths] == sorted(
        (r.saved for r in found.paths), reverse=True
    )
    for row in found.paths:
        assert row.saved_low <= row.saved <= row.saved_high
        assert row.output_change > 0
        assert row.drop == pytest.approx(found.metric - row.metric)
        assert row.parameters_saved >= 0
    front = [row for row in found.paths if row.pareto]
    assert front
    assert not any(
        other.drop <= row.drop and other.saved > row.saved for row in front for other in found.paths
    )


def test_the_commands_write_what_they_say(build, tmp_path, capsys):
    out = tmp_path / "ablation.json"
    assert run(["ablate", str(build), "--seconds", "0.3", "--threads", "1", "--out", str(out)]) == 0
    found = read_json(out, Ablation)
    check_replaceable_file(out, Ablation)
    assert (tmp_path / "ablation.svg").read_text().startswith("<svg")
    assert found.paths[0].place in capsys.readouterr().out
    smaller = tmp_path / "smaller"
    words = ["prune", str(build), "--drop", found.paths[0].place, "--out", str(smaller)]
    capsys.readouterr()
    assert run(words) == 0
    gone = found.paths[0]
    said = capsys.readouterr().out
    assert f"left out {gone.place}: {gone.operation} of input {gone.input}\n" in said
    compile_ = ["compile", str(smaller / "genotype.json"), "--weights", str(smaller)]
    compile_ += ["--target", "onnx", "--bench-seconds", "0", "--threads", "1"]
    assert run([*compile_, "--out", str(tmp_path / "built")]) == 0
    again = tmp_path / "again"
    once, whole = (read_genotype(str(folder / "genotype.json")) for folder in (smaller, build))
    left = [str(place) for place in removable(once)]
    prune(smaller, left[:1], again)
    assert (again / "weights.safetensors").is_file()
    twice = read_genotype(str(again / "genotype.json"))
    steps = (
        f"genotype {whole.hash[:12]} without {gone.place}",
        f"genotype {once.hash[:12]} without {left[0]}",
    )
    assert once.provenance == Provenance(method="prune", source=steps[0])
    assert twice.provenance == Provenance(method="prune", source="; ".join(steps))


def test_a_pruned_genotype_is_still_of_the_search_that_found_the_whole(networks, tmp_path):
    whole = load("data-m4")
    request = Request((), tmp_path / "build", bench_seconds=0.0)
    compile_genotype(whole, networks.classification, None, request)
    prune(tmp_path / "build", ["normal/node2/path0"], tmp_path / "smaller")
    found = read_genotype(str(tmp_path / "smaller/genotype.json")).provenance
    source = f"{whole.provenance.source}; genotype {whole.hash[:12]} without normal/node2/path0"
    assert found == whole.provenance.model_copy(update={"source": source})


def test_what_is_no_build_and_what_was_touched_is_refused(build, tmp_path):
    with pytest.raises(BadInput, match="neither a build nor a finished child"):
        prune(tmp_path, ["normal/node2/path0"], tmp_path / "out")
    path = build / "weights.safetensors"
    tensors = load_file(path)
    save_file({name: np.asarray(value + 1) for name, value in tensors.items()}, path)
    with pytest.raises(BadInput, match=r"weights\.safetensors"):
        prune(build, ["normal/node2/path0"], tmp_path / "out")
    with pytest.raises(BadInput, match="the figure goes there"):
        raise_from(["ablate", str(build), "--out", str(tmp_path / "x.svg")])


def test_a_child_is_not_replaced_by_what_is_left_of_it(build, tmp_path, monkeypatch):
    child = tmp_path / "child"
    prune(build, ["normal/node2/path0"], child)
    (child / "last.safetensors").write_bytes(b"hours of work")
    (place, *_) = removable(read_genotype(str(child / "genotype.json")))
    monkeypatch.chdir(tmp_path)
    for source, out in ((child, child), (Path("child"), child), (child, child / "../child")):
        with pytest.raises(BadInput, match="child is also the folder to write"):
            prune(source, [str(place)], out)
    assert (child / "last.safetensors").read_bytes() == b"hours of work"


def test_what_is_no_ablation_is_not_replaced(build, tmp_path):
    before = (build / "genotype.json").read_bytes()
    with pytest.raises(BadInput, match=r'is "datac\.genotype/1", .* name another file to write'):
        raise_from(["ablate", str(build), "--out", str(build / "genotype.json")])
    assert (build / "genotype.json").read_bytes() == before
    (tmp_path / "photo.svg").write_text("mine")
    with pytest.raises(BadInput, match=r"is there without its .*; remove it"):
        raise_from(["ablate", str(build), "--out", str(tmp_path / "photo.json")])


def test_what_saves_nothing_has_no_sign():
    ablation = json.loads((GOLDEN / "ablation-1.json").read_text())
    row = ablation["paths"][0] | {"saved": -0.0001, "saved_low": -0.02, "saved_high": 0.0003}
    row |= {"drop": -0.0, "parameters_saved": 0, "multiply_adds_saved": 10}
    row |= {"metric": 0.5, "output_change": 0.25}
    found = Ablation.model_validate(ablation | {"paths": [row], "metric": 0.5})
    console = output()
    with console.capture() as printed:
        console.print(ablation_table(found))
    cells = printed.get().splitlines()[1].split()
    assert cells[2:] == ["0.0%", "-2.0%", "to", "0.0%", "0.250", "0.0000", "0", "-10", "*"]


def raise_from(words):
    from datac.cli import root

    root.main(words, standalone_mode=False)
