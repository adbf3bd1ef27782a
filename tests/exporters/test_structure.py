"""Healthy models pass; every kind of damage is named by its place.

`tests/golden/structure_damages.toml` is also the table of what each judge sees alone: the reader of
paths knows no weights and no emitter, the comparison knows both.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
GENOTYPES = {"sum": GENOTYPE, "mean": GENOTYPE.model_copy(update={"aggregation": "mean"})}
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
NETWORKS = {"cifar": CIFAR, "segmentation": SEGMENTATION}


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


def bypass(model, name):
    """The node goes; who read it reads its first operand."""
    gone = node(model, name)
    rewire(model, name, gone.input[0])
    model.graph.node.remove(gone)


def attribute(model, name, key, value):
    target = node(model, name)
    kept = [each for each in target.attribute if each.name != key]
    del target.attribute[:]
    target.attribute.extend([*kept, helper.make_attribute(key, value)])


def operand(model, name, slot, value):
    node(model, name).input[slot] = value


def insert(model, op_type, name, before, slot):
    """A node more on the way to `before`."""
    target = node(model, before)
    more = helper.make_node(op_type, [target.input[slot]], [name], name)
    index = list(model.graph.node).index(target)
    target.input[slot] = name
    model.graph.node.insert(index, more)


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


def swap_values(model, first, second):
    one, other = weight(model, first), weight(model, second)
    one.raw_data, other.raw_data = other.raw_data, one.raw_data


def change_value(model, name, index, value):
    tensor = weight(model, name)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[index] = value
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def another_type(model, name, op_type):
    target = node(model, name)
    target.op_type = op_type
    kept = [each for each in target.attribute if each.name != "count_include_pad"]
    del target.attribute[:]
    target.attribute.extend(kept)


def drop_bias(model, name):
    target = node(model, name)
    target.input[:] = target.input[:2]
    prune(model)


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


STEPS = {
    step.__name__: step
    for step in (
        *(bypass, attribute, operand, insert, prune, swap_values, change_value, another_type),
        *(drop_bias, aside, rename_everything, hash_of_another, a_path_twice, lose_a_path_of_two),
    )
}


@dataclass(frozen=True)
class Damage:
    """`read`, `compared`: what a sentence of that judge alone says; None where it sees nothing."""

    do: list[list[object]]
    read: str | None = None
    compared: str | None = None
    genotype: str = "sum"
    network: str = "cifar"

    def models(self):
        """The damaged one and the whole one, and what they were made from."""
        genotype, network = GENOTYPES[self.genotype], NETWORKS[self.network]
        model = emitted(genotype, network)
        for name, *arguments in self.do:
            STEPS[name](model, *arguments)
        return model, emitted(genotype, network), genotype, network


P, W = "cell2/node3/path2/sep_conv_3x3", "cell2.node3.path2"
MAX = "cell2/node2/path2/max_pool_3x3/pool"
TABLE = Path(__file__).parents[1] / "golden" / "structure_damages.toml"
DAMAGES = {name: Damage(**row) for name, row in tomllib.loads(TABLE.read_text()).items()}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_by_each_judge_that_can_see_it(name):
    damage = DAMAGES[name]
    model, whole, genotype, network = damage.models()
    read = read_paths(model, genotype, network).differences
    compared = compare(model, whole)
    for sentences, phrase in ((read, damage.read), (compared, damage.compared)):
        if phrase is None:
            assert not sentences
        else:
            assert any(phrase in sentence for sentence in sentences), sentences
    result = judge_structure(model, whole, genotype, network)
    assert result.verdict == "fail"
    assert len(compared) <= 4
    assert result.differences == (*shorten(read), *compared)


@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_healthy_model_passes(genotype, network):
    whole = emitted(genotype, network)
    result = judge_structure(emitted(genotype, network), whole, genotype, network)
    assert (result.verdict, result.differences) == ("pass", ())
    assert result.paths_found == result.paths_expected > 0


def test_defaults_that_are_written_down_or_left_out_are_the_same():
    model = emitted(GENOTYPE, CIFAR)
    attribute(model, MAX, "ceil_mode", 0)
    attribute(model, f"{P}/pointwise0", "auto_pad", "NOTSET")
    target = node(model, f"{P}/pointwise0")
    kept = [each for each in target.attribute if each.name not in ("strides", "kernel_shape")]
    del target.attribute[:]
    target.attribute.extend(kept)
    assert compare(model, emitted(GENOTYPE, CIFAR)) == []
    assert read_paths(model, GENOTYPE, CIFAR).differences == ()


def test_a_renamed_model_is_compared_all_the_same():
    model = emitted(GENOTYPE, CIFAR)
    attribute(model, MAX, "pads", [2, 2, 0, 0])
    change_value(model, f"{W}.pointwise0.weight", 3, 100.0)
    rename_everything(model)
    sentences = compare(model, emitted(GENOTYPE, CIFAR))
    assert "names differ" in sentences[0]
    assert any("cell2/node2/path2/max_pool_3x3" in sentence for sentence in sentences)
    assert any(f"{W}.pointwise0.weight" in sentence for sentence in sentences)
    assert len(sentences) < 10


def test_sums_that_double_come_to_an_end():
    """Written out, the last of these would have 2^60 addends."""
    model = emitted(GENOTYPE, CIFAR)
    at = list(model.graph.node).index(node(model, "cell2/node2/sum"))
    for index in range(60):
        last = f"double{index - 1}" if index else "cell2/node2/sum/add1"
        twice = helper.make_node("Add", [last, last], [f"double{index}"], f"double{index}")
        model.graph.node.insert(at + index, twice)
    operand(model, "cell2/node2/sum", 0, "double59")
    result = judge_structure(model, emitted(GENOTYPE, CIFAR), GENOTYPE, CIFAR)
    assert any(sentence.startswith("cell2/node2") for sentence in result.differences)


def test_an_operand_that_is_left_out_is_no_loop():
    model = emitted(GENOTYPE, CIFAR)
    operand(model, "cell2/concat", 0, "")
    reading = read_paths(model, GENOTYPE, CIFAR)
    assert any(sentence.startswith("cell2: concatenates") for sentence in reading.differences)


def test_a_flood_of_differences_is_cut_short():
    model = emitted(GENOTYPE, CIFAR)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("weight"):
            change_value(model, tensor.name, 0, 9.0)
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
