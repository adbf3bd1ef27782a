"""The reader finds what the emitter wrote, and nothing that it did not write."""

from functools import cache

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.candidates import CANDIDATES
from compiler.lower import lower
from compiler.skeletons import SKELETONS
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput
from datac.published import NAMES, load
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.path_reader import read_paths

NETWORKS = {
    "cifar": Network(skeleton="cifar", channels=2, cells=4, classes=3, input=(3, 8, 8)),
    "imagenet": Network(skeleton="imagenet", channels=2, cells=3, classes=3, input=(3, 32, 32)),
    "segmentation": Network(
        skeleton="segmentation",
        channels=2,
        cells=4,
        classes=3,
        input=(3, 32, 32),
        output_stride=16,
        head_channels=2,
    ),
}
SMALL = Network(skeleton="cifar", channels=2, cells=3, classes=3, input=(3, 8, 8))


def emitted(genotype, network):
    graph = lower(genotype, network)
    graph.weights = {
        name: np.ones(spec.shape, spec.dtype) for name, spec in graph.weight_specs().items()
    }
    return canonical_onnx(canonical_graph(graph), genotype, network)


def cell(output, *nodes):
    paths = [[{"operation": name, "input": number} for name, number in node] for node in nodes]
    return {"nodes": [{"paths": node} for node in paths], "output": output}


def genotype_of(normal, reduction, aggregation="sum"):
    cells = {"normal": normal, "reduction": reduction}
    return Genotype.model_validate({"cells": cells, "aggregation": aggregation})


PLAIN = cell([2], [("skip_connect", 0), ("skip_connect", 1)])


@cache
def _published(name, network):
    return emitted(load(name), network)


@pytest.mark.parametrize("skeleton", NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_every_published_cell_is_read_back(name, skeleton):
    network = NETWORKS[skeleton]
    reading = read_paths(_published(name, network), load(name), network)
    # Not all cells are alive: the normal cell of `darts-top3` never reads the cell before it.
    origins = {o for node in lower(load(name), network).nodes() for o in node.origin}
    expected = len({(o.cell, o.node, o.path) for o in origins if o.path is not None})
    assert (reading.found, reading.expected, reading.differences) == (expected, expected, ())


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_every_output_stride_is_read_back(stride):
    network = NETWORKS["segmentation"].model_copy(update={"output_stride": stride})
    assert read_paths(emitted(load("data-m4"), network), load("data-m4"), network).differences == ()
    other = network.model_copy(update={"output_stride": 40 - stride if stride != 16 else 8})
    if stride != 8:
        found = read_paths(emitted(load("data-m4"), network), load("data-m4"), other)
        assert any("dilations" in sentence for sentence in found.differences)


@pytest.mark.parametrize(("one", "other"), [("data-m4", "data-m4-repo"), ("darts-v1", "darts-v2")])
def test_the_cell_of_another_paper_is_another_cell(one, other):
    network = NETWORKS["cifar"]
    reading = read_paths(_published(one, network), load(other), network)
    assert reading.differences
    assert reading.found < reading.expected


# ---- special cases -------------------------------------------------------------------------------

SPECIAL = {
    "only input 0 is read, so that every second cell is dead": genotype_of(
        cell([2], [("sep_conv_3x3", 0)]), cell([2], [("max_pool_3x3", 0)])
    ),
    "only input 1 is read": genotype_of(
        cell([2], [("sep_conv_3x3", 1)]), cell([2], [("skip_connect", 1)])
    ),
    "skips of skips": genotype_of(
        cell([3], [("skip_connect", 1)], [("skip_connect", 2)]),
        cell([4], [("skip_connect", 0)], [("skip_connect", 2)], [("skip_connect", 3)]),
    ),
    "the same path twice": genotype_of(
        cell([2], [("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 1)] * 2), PLAIN
    ),
    "two inputs that nothing tells apart": genotype_of(PLAIN, PLAIN),
    "nodes beside the output": genotype_of(
        cell(
            [5],
            [("skip_connect", 0)],
            [("skip_connect", 0)],
            [("sep_conv_3x3", 2), ("skip_connect", 3)],
            [("skip_connect", 2), ("sep_conv_3x3", 3), ("max_pool_3x3", 4)],
        ),
        PLAIN,
    ),
    "nodes that nobody uses": genotype_of(
        cell([3], [("dil_conv_5x5", 0)], [("avg_pool_3x3", 1)], [("skip_connect", 2)], []), PLAIN
    ),
    "the output in another order": genotype_of(
        cell([3, 2], [("skip_connect", 0)], [("sep_conv_7x7", 1), ("skip_connect", 2)]), PLAIN
    ),
    "the mean": genotype_of(
        cell([2, 3], [("skip_connect", 0)], [("sep_conv_3x3", 1), ("skip_connect", 2)] * 3),
        PLAIN,
        "mean",
    ),
}


@pytest.mark.parametrize("case", SPECIAL)
@pytest.mark.parametrize("skeleton", NETWORKS)
def test_a_special_case_is_read_back(case, skeleton):
    reading = read_paths(
        emitted(SPECIAL[case], NETWORKS[skeleton]), SPECIAL[case], NETWORKS[skeleton]
    )
    assert reading.differences == ()
    assert reading.found == reading.expected > 0


def test_names_are_not_believed():
    """Two paths under each other's names are still what they are."""
    network, genotype = NETWORKS["cifar"], load("data-m7")
    model = emitted(genotype, network)
    values = {name: f"v{i}" for i, n in enumerate(model.graph.node[:-1]) for name in n.output}
    values |= {tensor.name: f"w{i}" for i, tensor in enumerate(model.graph.initializer)}
    for node in model.graph.node:
        node.name = "cell0/node2/path0/skip_connect/identity"
        node.input[:] = [values.get(name, name) for name in node.input]
        node.output[:] = [values.get(name, name) for name in node.output]
    for tensor in model.graph.initializer:
        tensor.name = values[tensor.name]
    assert read_paths(model, genotype, network).differences == ()


def test_a_circle_is_refused():
    model = emitted(SPECIAL["the mean"], SMALL)
    model.graph.node[0].input[0] = model.graph.node[-2].output[0]
    with pytest.raises(BadInput, match="circle"):
        read_paths(model, SPECIAL["the mean"], SMALL)


def test_a_mean_and_a_number_of_cells_are_seen():
    mean, plain = SPECIAL["the mean"], SPECIAL["the mean"].model_copy(update={"aggregation": "sum"})
    reading = read_paths(emitted(mean, SMALL), plain, SMALL)
    assert "cell0/node2: multiplies its sum by 1.0 where a plain sum" in reading.differences[0]
    longer = SMALL.model_copy(update={"cells": 4})
    reading = read_paths(emitted(plain, SMALL), plain, longer)
    assert reading.found < reading.expected


def test_a_lost_cell_is_named():
    genotype = load("data-m4")
    model = emitted(genotype, SMALL)
    next(n for n in model.graph.node if n.name == "cell2/preprocess1/relu").input[0] = (
        "cell0/concat"
    )
    kept = [node for node in model.graph.node if not node.name.startswith("cell1/")]
    weights = [w for w in model.graph.initializer if not w.name.startswith("cell1")]
    for field, content in ((model.graph.node, kept), (model.graph.initializer, weights)):
        del field[:]
        field.extend(content)
    reading = read_paths(model, genotype, SMALL)
    assert reading.differences == (
        "cell1: not found, and with it none of its 12 paths",
        "cell2/preprocess1: reads cell0, not the output of cell1",
    )


# ---- any genotype --------------------------------------------------------------------------------


@st.composite
def cells(draw):
    nodes = []
    for number in range(2, 2 + draw(st.integers(1, 4))):
        path = st.tuples(st.sampled_from(sorted(CANDIDATES)), st.integers(0, number - 1))
        nodes.append(draw(st.lists(path, min_size=1, max_size=4)))
    numbers = range(2, 2 + len(nodes))
    output = draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
    return cell(output, *nodes)


GENOTYPES = st.builds(genotype_of, cells(), cells(), st.sampled_from(["sum", "mean"]))
SMALL_NETWORKS = st.sampled_from([SMALL, NETWORKS["imagenet"], NETWORKS["segmentation"]])


@settings(max_examples=40, deadline=None)
@given(genotype=GENOTYPES, network=SMALL_NETWORKS)
def test_any_genotype_is_read_back(genotype, network):
    reading = read_paths(emitted(genotype, network), genotype, network)
    assert reading.differences == ()
    assert reading.found == reading.expected > 0


@st.composite
def changed(draw, genotype):
    """The genotype with one path of a used node replaced, removed or doubled."""
    content = genotype.model_dump(mode="json", by_alias=True)
    kind = draw(st.sampled_from(["normal", "reduction"]))
    used = sorted(genotype.cells[kind].used())
    number = draw(st.sampled_from(used))
    paths = content["cells"][kind]["nodes"][number - 2]["paths"]
    index = draw(st.integers(0, len(paths) - 1))
    how = draw(st.sampled_from(["operation", "input", "remove", "double"]))
    if how == "operation":
        paths[index]["operation"] = draw(st.sampled_from(sorted(CANDIDATES)))
    elif how == "input":
        paths[index]["input"] = draw(st.integers(0, number - 1))
    elif how == "remove":
        paths.pop(index)
    else:
        paths.insert(index, dict(paths[index]))
    assume(paths)
    return Genotype.model_validate(content)


def meaning(genotype, network):
    """What a genotype computes, up to the names of its nodes and the order of sums."""
    kinds = [plan.kind for plan in SKELETONS[network.skeleton].plan(network)]
    return [_cell_meaning(genotype.cells[kind]) for kind in kinds]


def _cell_meaning(one):
    known = {0: "0", 1: "1"}
    used = one.used()
    for number, node in one.numbered():
        if number in used:
            known[number] = repr(sorted((p.operation, known[p.input]) for p in node.paths))
    shared = sorted(known[number] for number in used)
    return [known[number] for number in one.output], shared


@settings(max_examples=30, deadline=None)
@given(data=st.data(), genotype=GENOTYPES)
def test_any_change_of_the_genotype_is_seen(data, genotype):
    other = data.draw(changed(genotype))
    assume(meaning(genotype, SMALL) != meaning(other, SMALL))
    # A change in a cell that reaches no output changes nothing, and neither does the first cell's
    # choice between its two inputs, which are one value.
    models = [emitted(each, SMALL) for each in (genotype, other)]
    assume(wiring(models[0]) != wiring(models[1]))
    assert read_paths(models[0], other, SMALL).differences


def wiring(model):
    """The network as an expression of its input, names left out, sums in no order."""
    known = {"input": 0}
    seen = {}
    for node in model.graph.node:
        inputs = [known.get(name, -1) for name in node.input]
        if node.op_type == "Add":
            inputs.sort()
        key = (
            node.op_type,
            tuple(inputs),
            str(sorted(a.SerializeToString() for a in node.attribute)),
        )
        known[node.output[0]] = seen.setdefault(key, len(seen) + 1)
    return known[model.graph.output[0].name], sorted(seen), len(model.graph.node)


def test_the_model_is_not_touched():
    model = emitted(load("data-m4"), SMALL)
    before = model.SerializeToString(deterministic=True)
    read_paths(model, load("data-m4"), SMALL)
    assert model.SerializeToString(deterministic=True) == before
    assert isinstance(model, onnx.ModelProto)
