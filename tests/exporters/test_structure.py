"""Healthy models pass; every kind of damage is named by its place.

`DAMAGES` is also the table of what each judge sees alone: the reader of paths knows no weights
and no emitter, the comparison knows both.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from compiler.lower import lower
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.path_reader import read_paths
from exporters.structure import MOST_SENTENCES, compare, judge_structure, shorten


def cell(output, *nodes):
    paths = [[{"operation": name, "input": number} for name, number in node] for node in nodes]
    return {"nodes": [{"paths": node} for node in paths], "output": output}


GENOTYPE = Genotype.model_validate(
    {
        "schema": "datac.genotype/1",
        "cells": {
            "normal": cell(
                [3, 4],
                [("sep_conv_3x3", 0), ("skip_connect", 1), ("max_pool_3x3", 1)],
                [("dil_conv_5x5", 2), ("avg_pool_3x3", 0), ("sep_conv_3x3", 1)],
                [("skip_connect", 0), ("sep_conv_3x3", 3)],
            ),
            "reduction": cell(
                [2, 3],
                [("conv_7x1_1x7", 0), ("skip_connect", 1)],
                [("max_pool_3x3", 1), ("dil_conv_3x3", 2)],
            ),
        },
    }
)
MEAN = GENOTYPE.model_copy(update={"aggregation": "mean"})
CIFAR = Network(skeleton="cifar", channels=4, cells=5, classes=5, input=(3, 16, 16))
SEGMENTATION = Network(
    skeleton="segmentation",
    channels=4,
    cells=3,
    classes=5,
    input=(3, 32, 32),
    output_stride=8,
    head_channels=6,
)


@cache
def _content(genotype_json, network):
    genotype = Genotype.model_validate_json(genotype_json)
    graph = lower(genotype, network)
    draw = np.random.default_rng(0)
    graph.weights = {
        name: draw.uniform(0.5, 2.0, spec.shape).astype(spec.dtype)
        for name, spec in graph.weight_specs().items()
    }
    return canonical_onnx(canonical_graph(graph), genotype, network).SerializeToString()


def emitted(genotype, network):
    model = onnx.ModelProto()
    model.ParseFromString(_content(genotype.model_dump_json(by_alias=True), network))
    return model


# ---- ways to damage a model --------------------------------------------------------------------


def node(model, name):
    return next(node for node in model.graph.node if node.name == name)


def weight(model, name):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def rewire(model, old, new):
    for each in model.graph.node:
        each.input[:] = [new if name == old else name for name in each.input]


def bypass(name):
    """The node goes; who read it reads its first operand."""

    def damage(model):
        gone = node(model, name)
        rewire(model, name, gone.input[0])
        model.graph.node.remove(gone)

    return damage


def attribute(name, key, value):
    def damage(model):
        target = node(model, name)
        kept = [each for each in target.attribute if each.name != key]
        del target.attribute[:]
        target.attribute.extend([*kept, helper.make_attribute(key, value)])

    return damage


def operand(name, slot, value):
    def damage(model):
        node(model, name).input[slot] = value

    return damage


def insert(op_type, name, before, slot=0):
    """A node more on the way to `before`."""

    def damage(model):
        target = node(model, before)
        more = helper.make_node(op_type, [target.input[slot]], [name], name)
        index = list(model.graph.node).index(target)
        target.input[slot] = name
        model.graph.node.insert(index, more)

    return damage


def both(*damages):
    def damage(model):
        for each in damages:
            each(model)

    return damage


def prune(model):
    """What nobody reads goes, weights too."""
    outputs = {value.name for value in model.graph.output}
    while dead := [
        each
        for each in model.graph.node
        if not outputs.union(*(other.input for other in model.graph.node)) & {*each.output}
    ]:
        for each in dead:
            model.graph.node.remove(each)
    read = {name for each in model.graph.node for name in each.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)


def swap_values(first, second):
    def damage(model):
        one, other = weight(model, first), weight(model, second)
        one.raw_data, other.raw_data = other.raw_data, one.raw_data

    return damage


def change_value(name, index, value):
    def damage(model):
        tensor = weight(model, name)
        array = numpy_helper.to_array(tensor).copy()
        array.flat[index] = value
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return damage


def another_type(name, op_type):
    def damage(model):
        target = node(model, name)
        target.op_type = op_type
        kept = [each for each in target.attribute if each.name != "count_include_pad"]
        del target.attribute[:]
        target.attribute.extend(kept)

    return damage


def drop_bias(name):
    def damage(model):
        target = node(model, name)
        target.input[:] = target.input[:2]

    return both(damage, prune)


def aside(model):
    model.graph.node.append(helper.make_node("Relu", ["cell0/concat"], ["aside"], "aside"))


def rename_everything(model):
    for index, each in enumerate(model.graph.node[:-1]):
        rewire(model, each.name, f"value_{index}")
        each.name = each.output[0] = f"value_{index}"
    for index, tensor in enumerate(model.graph.initializer):
        rewire(model, tensor.name, f"weight_{index}")
        tensor.name = f"weight_{index}"


def hash_of_another(model):
    entry = next(e for e in model.metadata_props if e.key == "datac.genotype_hash")
    entry.value = "0" * 64


def a_path_twice(model):
    """Its nodes once more, under new names and with the same weights, summed at the end."""
    path = "cell2/node2/path0/sep_conv_3x3/"
    at = list(model.graph.node).index(node(model, "cell2/node2/sum"))
    last = "cell2/node2/path2/max_pool_3x3/pool"
    for each in [each for each in model.graph.node if each.name.startswith(path)]:
        twin = onnx.NodeProto()
        twin.CopyFrom(each)
        twin.name = twin.output[0] = f"again/{each.name}"
        twin.input[:] = [f"again/{i}" if i.startswith(path) else i for i in each.input]
        model.graph.node.insert(at, twin)
        at += 1
    total = helper.make_node("Add", ["cell2/node2/sum/add1", last], ["again/add"], "again/add")
    model.graph.node.insert(at, total)
    node(model, "cell2/node2/sum").input[:] = ["again/add", f"again/{path}pointwise1"]


def lose_a_path_of_two(model):
    rewire(model, "cell2/node4/sum", "cell2/node4/path0/skip_connect/identity")
    prune(model)


P = "cell2/node3/path2/sep_conv_3x3"
W = "cell2.node3.path2"
AVG, MAX = "cell2/node3/path1/avg_pool_3x3/pool", "cell2/node2/path2/max_pool_3x3/pool"
DIL, CONV7 = "cell2/node3/path0/dil_conv_5x5", "cell1/node2/path0/conv_7x1_1x7"
SKIP2 = "cell1/node2/path1/skip_connect"


@dataclass(frozen=True)
class Damage:
    """`read`, `compared`: what a sentence of that judge alone says; None where it sees nothing."""

    do: object
    read: str | None
    compared: str | None
    genotype: Genotype = GENOTYPE
    network: Network = CIFAR


DAMAGES = {
    "path no longer summed": Damage(
        bypass("cell2/node2/sum/add1"),
        "cell2/node2/path1: skip_connect on input 1 is missing",
        "cell2/node2/path1/skip_connect: is no longer summed into cell2/node2",
    ),
    "path removed": Damage(
        both(bypass("cell2/node3/sum"), prune),
        "cell2/node3/path2: sep_conv_3x3 on input 1 is missing",
        f"{P}: is no longer summed into cell2/node3",
    ),
    "one of two paths removed": Damage(
        lose_a_path_of_two,
        "cell2/node4/path1: sep_conv_3x3 on input 3 is missing",
        "cell2/node4/path1/sep_conv_3x3: is no longer summed into cell2/node4",
    ),
    "path summed twice": Damage(
        operand("cell2/node2/sum", 1, "cell2/node2/path0/sep_conv_3x3/pointwise1"),
        "cell2/node2/path2: expected max_pool_3x3 on input 1, found sep_conv_3x3 on input 0",
        "cell2/node2: also sums cell2/node2/path0/sep_conv_3x3",
    ),
    "path duplicated": Damage(
        a_path_twice,
        "cell2/node2: also sums sep_conv_3x3 on input 0, no path of the genotype",
        "cell2/node2: also sums again/cell2/node2/path0/sep_conv_3x3",
    ),
    "weights swapped": Damage(
        swap_values(f"{W}.depthwise0.weight", f"{W}.depthwise1.weight"),
        None,
        f"{P}: weights {W}.depthwise0.weight and {W}.depthwise1.weight are swapped",
    ),
    "weights swapped on their way": Damage(
        both(
            operand(f"{P}/depthwise0", 1, f"{W}.depthwise1.weight"),
            operand(f"{P}/depthwise1", 1, f"{W}.depthwise0.weight"),
        ),
        None,
        f"{P}: weights {W}.depthwise0.weight and {W}.depthwise1.weight are swapped",
    ),
    "weight read twice": Damage(
        both(operand(f"{P}/depthwise0", 1, f"{W}.depthwise1.weight"), prune),
        f"cell2/node3/path2: one initialiser, {W}.depthwise1.weight, serves",
        f"{P}: weight {W}.depthwise0.weight has the values of {W}.depthwise1.weight",
    ),
    "weight element changed": Damage(
        change_value(f"{W}.pointwise0.weight", 3, 100.0),
        None,
        f"{P}: weight {W}.pointwise0.weight differs from weights.safetensors (largest",
    ),
    "weight not a number": Damage(
        change_value(f"{W}.pointwise0.weight", 3, np.nan),
        None,
        f"{P}: weight {W}.pointwise0.weight differs from weights.safetensors (largest",
    ),
    "pooling padding": Damage(
        attribute(MAX, "pads", [2, 2, 0, 0]),
        "cell2/node2/path2: max_pool_3x3: pool has pads [2, 2, 0, 0] where [1, 1, 1, 1]",
        f"cell2/node2/path2/max_pool_3x3: node {MAX} has pads [2, 2, 0, 0] where [1, 1, 1, 1]",
    ),
    "padding counted": Damage(
        attribute(AVG, "count_include_pad", 1),
        "cell2/node3/path1: avg_pool_3x3: pool has count_include_pad 1 where 0",
        f"cell2/node3/path1/avg_pool_3x3: node {AVG} has count_include_pad 1 where 0",
    ),
    "another pool": Damage(
        another_type(AVG, "MaxPool"),
        "cell2/node3/path1: expected avg_pool_3x3 on input 0, found max_pool_3x3 on input 0",
        f"cell2/node3/path1/avg_pool_3x3: node {AVG} is MaxPool where AveragePool",
    ),
    "dilation with pads": Damage(
        both(
            attribute(f"{DIL}/depthwise0", "dilations", [1, 1]),
            attribute(f"{DIL}/depthwise0", "pads", [2] * 4),
        ),
        "cell2/node3/path0: dil_conv_5x5: depthwise0 has pads [2, 2, 2, 2] where [4, 4, 4, 4] is "
        "expected; depthwise0 has dilations [1, 1] where [2, 2]",
        f"{DIL}: node {DIL}/depthwise0 has dilations [1, 1] where [2, 2]",
    ),
    "stride": Damage(
        attribute(f"{CONV7}/conv_1x7", "strides", [1, 1]),
        "cell1/node2/path0: conv_7x1_1x7: conv_1x7 has strides [1, 1] where [1, 2]",
        f"{CONV7}: node {CONV7}/conv_1x7 has strides [1, 1] where [1, 2]",
    ),
    "another input of the cell": Damage(
        operand(f"{P}/relu0", 0, "cell2/preprocess0/concat"),
        "cell2/node3/path2: expected sep_conv_3x3 on input 1, found sep_conv_3x3 on input 0",
        f"{P}: node {P}/relu0 reads cell2/preprocess0/concat where cell2/preprocess1/conv",
    ),
    "a node of the cell": Damage(
        operand(f"{P}/relu0", 0, "cell2/node2/sum"),
        "cell2/node3/path2: expected sep_conv_3x3 on input 1, found sep_conv_3x3 on input 2",
        f"{P}: node {P}/relu0 reads cell2/node2/sum where cell2/preprocess1/conv",
    ),
    "a node of another cell": Damage(
        operand(f"{P}/relu0", 0, "cell1/node2/sum"),
        "cell2/node3/path2: expected sep_conv_3x3 on input 1, found sep_conv_3x3 on cell1/node2",
        f"{P}: node {P}/relu0 reads cell1/node2/sum where cell2/preprocess1/conv",
    ),
    "an input of another cell": Damage(
        operand("cell4/node3/path2/sep_conv_3x3/relu0", 0, "cell3/preprocess1/conv"),
        "cell4/node3/path2: expected sep_conv_3x3 on input 1, found sep_conv_3x3 on "
        "cell3/preprocess1",
        "cell4/node3/path2/sep_conv_3x3: node",
    ),
    "cells wired wrongly": Damage(
        operand("cell4/preprocess1/relu", 0, "cell2/concat"),
        "cell4/preprocess1: reads cell2, not the output of cell3",
        "cell4/preprocess1: node cell4/preprocess1/relu reads cell2/concat where cell3/concat",
    ),
    "head on another cell": Damage(
        operand("head/pool", 0, "cell3/concat"),
        "head: reads cell3, not the output of cell4",
        "head: node head/pool reads cell3/concat where cell4/concat",
    ),
    "concatenation in another order": Damage(
        operand("cell2/concat", 0, "cell2/node4/sum"),
        "cell2: concatenates input 4, input 4 where input 3, input 4",
        "cell2: node cell2/concat reads cell2/node4/sum where cell2/node3/sum",
    ),
    "ReLU removed": Damage(
        bypass(f"{P}/relu0"),
        "cell2/node3/path2: sep_conv_3x3: lacks the ReLU before depthwise0",
        f"{P}: node {P}/relu0 is missing",
    ),
    "ReLU between removed": Damage(
        bypass(f"{P}/relu1"),
        "cell2/node3/path2: sep_conv_3x3: lacks the ReLU before depthwise1",
        f"{P}: node {P}/relu1 is missing",
    ),
    "ReLU of a preprocessing removed": Damage(
        bypass("cell2/preprocess1/relu"),
        "cell2/preprocess1: lacks the ReLU before its convolution",
        "cell2/preprocess1: node cell2/preprocess1/relu is missing",
    ),
    "ReLU added": Damage(
        insert("Relu", "extra", "cell2/node2/sum", 1),
        "cell2/node2/path2: expected max_pool_3x3 on input 1, found Relu (extra)",
        "cell2/node2/path2/max_pool_3x3: is no longer summed into cell2/node2",
    ),
    "bias dropped": Damage(
        drop_bias(f"{P}/pointwise0"),
        "cell2/node3/path2: sep_conv_3x3: pointwise0 has no bias",
        f"{P}: node {P}/pointwise0 reads nothing where {W}.pointwise0.bias",
    ),
    "shift removed": Damage(
        both(operand(f"{SKIP2}/conv1", 0, f"{SKIP2}/relu"), prune),
        "cell1/node2/path1: skip_connect: conv1 reads the map unshifted",
        f"{SKIP2}: node {SKIP2}/conv1 reads {SKIP2}/relu where {SKIP2}/shift",
    ),
    "shift by none": Damage(
        change_value(f"{SKIP2}/shift/starts", 0, 0),
        "cell1/node2/path1: skip_connect: slice_conv1 has the constants [[0, 1]",
        f"{SKIP2}: constant {SKIP2}/shift/starts is [0, 1] where [1, 1]",
    ),
    "node aside": Damage(
        aside, "model: node aside (Relu) belongs to no path", "aside: node aside is too many"
    ),
    "mean with another factor": Damage(
        change_value("cell2/node2/mean/factor", 0, 0.5),
        "cell2/node2: multiplies its sum by 0.5 where 1/3 is expected",
        "cell2/node2: constant cell2/node2/mean/factor is 0.5 where 0.333",
        genotype=MEAN,
    ),
    "sum instead of mean": Damage(
        both(bypass("cell2/node2/mean"), prune),
        "cell2/node2: sums its paths where their mean is expected",
        "cell2/node2: node cell2/node2/mean is missing",
        genotype=MEAN,
    ),
    "stem": Damage(
        attribute("stem/conv", "pads", [0, 0, 2, 2]),
        "stem: conv has pads [0, 0, 2, 2] where [1, 1, 1, 1]",
        "stem: node stem/conv has pads [0, 0, 2, 2] where [1, 1, 1, 1]",
    ),
    "classifier": Damage(
        attribute("head/linear", "alpha", 0.5),
        "head: linear has alpha 0.5 where 1.0",
        "head: node head/linear has alpha 0.5 where 1.0",
    ),
    "resize mode": Damage(
        attribute("head/resize", "mode", "nearest"),
        "head: Resize has mode nearest where linear",
        "head: node head/resize has mode nearest where linear",
        network=SEGMENTATION,
    ),
    "corners aligned": Damage(
        attribute("head/image/resize", "coordinate_transformation_mode", "align_corners"),
        "head/image: Resize has coordinate_transformation_mode align_corners where half_pixel",
        "node head/image/resize has coordinate_transformation_mode align_corners where half_pixel",
        network=SEGMENTATION,
    ),
    "atrous rate": Damage(
        both(
            attribute("head/branch2/conv", "pads", [12] * 4),
            attribute("head/branch2/conv", "dilations", [12] * 2),
        ),
        "head/branch2: conv has dilations [12, 12] where [24, 24]",
        "head/branch2: node head/branch2/conv has dilations [12, 12] where [24, 24]",
        network=SEGMENTATION,
    ),
    "branch on another cell": Damage(
        operand("head/branch3/conv", 0, "cell1/concat"),
        'head/branch3: reads "cell1/concat" where the others read "cell2/concat"',
        "head/branch3: node head/branch3/conv reads cell1/concat where cell2/concat",
        network=SEGMENTATION,
    ),
    "dilation of the cells": Damage(
        both(
            attribute("cell2/node2/path0/conv_7x1_1x7/conv_7x1", "dilations", [1, 1]),
            attribute("cell2/node2/path0/conv_7x1_1x7/conv_7x1", "pads", [3, 0, 3, 0]),
        ),
        "cell2/node2/path0: conv_7x1_1x7: conv_7x1 has pads [3, 0, 3, 0] where [6, 0, 6, 0]",
        "node cell2/node2/path0/conv_7x1_1x7/conv_7x1 has dilations [1, 1] where [2, 1]",
        network=SEGMENTATION,
    ),
    "hash of another genotype": Damage(
        hash_of_another, None, "model: the metadata datac.genotype_hash is 000000"
    ),
    "sum in another order": Damage(
        both(
            operand("cell2/node2/sum/add1", 0, "cell2/node2/path1/skip_connect/identity"),
            operand("cell2/node2/sum/add1", 1, "cell2/node2/path0/sep_conv_3x3/pointwise1"),
        ),
        None,
        "cell2/node2: node cell2/node2/sum/add1 reads cell2/node2/path1/skip_connect/identity",
    ),
    "names alone": Damage(rename_everything, None, "names differ (first: "),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_by_each_judge_that_can_see_it(name):
    damage = DAMAGES[name]
    model, whole = (emitted(damage.genotype, damage.network) for _ in range(2))
    damage.do(model)
    read = read_paths(model, damage.genotype, damage.network).differences
    compared = compare(model, whole)
    for sentences, phrase in ((read, damage.read), (compared, damage.compared)):
        if phrase is None:
            assert not sentences
        else:
            assert any(phrase in sentence for sentence in sentences), sentences
    result = judge_structure(model, whole, damage.genotype, damage.network)
    assert result.verdict == "fail"
    assert len(compared) <= 4
    assert result.differences == (*shorten(read), *compared)


@pytest.mark.parametrize("genotype", [GENOTYPE, MEAN])
@pytest.mark.parametrize("network", [CIFAR, SEGMENTATION])
def test_a_healthy_model_passes(genotype, network):
    whole = emitted(genotype, network)
    result = judge_structure(emitted(genotype, network), whole, genotype, network)
    assert (result.verdict, result.differences) == ("pass", ())
    assert result.paths_found == result.paths_expected > 0


def test_defaults_that_are_written_down_or_left_out_are_the_same():
    model = emitted(GENOTYPE, CIFAR)
    attribute(MAX, "ceil_mode", 0)(model)
    attribute(f"{P}/pointwise0", "auto_pad", "NOTSET")(model)
    target = node(model, f"{P}/pointwise0")
    kept = [each for each in target.attribute if each.name not in ("strides", "kernel_shape")]
    del target.attribute[:]
    target.attribute.extend(kept)
    assert compare(model, emitted(GENOTYPE, CIFAR)) == []
    assert read_paths(model, GENOTYPE, CIFAR).differences == ()


def test_a_renamed_model_is_compared_all_the_same():
    model = emitted(GENOTYPE, CIFAR)
    attribute(MAX, "pads", [2, 2, 0, 0])(model)
    change_value(f"{W}.pointwise0.weight", 3, 100.0)(model)
    rename_everything(model)
    sentences = compare(model, emitted(GENOTYPE, CIFAR))
    assert "names differ" in sentences[0]
    assert any("cell2/node2/path2/max_pool_3x3" in sentence for sentence in sentences)
    assert any(f"{W}.pointwise0.weight" in sentence for sentence in sentences)
    assert len(sentences) < 10


def test_a_flood_of_differences_is_cut_short():
    model = emitted(GENOTYPE, CIFAR)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("weight"):
            change_value(tensor.name, 0, 9.0)(model)
    sentences = compare(model, emitted(GENOTYPE, CIFAR))
    assert len(sentences) == MOST_SENTENCES + 1
    assert sentences[-1].startswith("... and ")
    assert sentences[0].startswith("stem: weight stem.conv.weight")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_wire_counts(data):
    """Any operand of any node, read from any other value: both judges see it, neither breaks."""
    network = data.draw(st.sampled_from([CIFAR, SEGMENTATION]))
    model, whole = emitted(GENOTYPE, network), emitted(GENOTYPE, network)
    index = data.draw(st.integers(0, len(model.graph.node) - 1))
    target = model.graph.node[index]
    slot = data.draw(st.sampled_from([s for s, name in enumerate(target.input) if name]))
    weights = {tensor.name for tensor in model.graph.initializer}
    made = ["input", *(name for each in model.graph.node[:index] for name in each.output)]
    others = sorted(weights) if target.input[slot] in weights else made
    others = [name for name in others if name != target.input[slot]]
    assume(others)
    target.input[slot] = data.draw(st.sampled_from(others))
    assert compare(model, whole)
    assert read_paths(model, GENOTYPE, network).differences
