"""What a training begins with: a supernet, the backbone of a child, or all of its weights."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from trainings import CIFAR, IMAGENET, RECIPE, SEGMENTATION, trained

from compiler.candidates import SEARCH_SPACE
from datac.documents.genotype import Genotype
from datac.documents.read import read_json
from datac.errors import BadInput
from datac.output_folder import mark
from datac.published import load
from exporters.prune import prune
from searcher.gumbel import Layout
from searcher.supernet import Supernet


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "classifier"
    trained(out, IMAGENET)
    return out


def supernet_of(run, network):
    """A folder as a search leaves it, as far as `inherit` reads it."""
    torch.manual_seed(3)
    supernet = Supernet(network, Layout(SEARCH_SPACE, 4))
    run.mkdir()
    state = {name: tensor.numpy() for name, tensor in supernet.state_dict().items()}
    save_file(state, run / "supernet.safetensors")
    return state


def test_a_child_inherits_from_a_supernet(tmp_path):
    state = supernet_of(tmp_path / "run", SEGMENTATION)
    recipe = replace(RECIPE, learning_rate=1e-12, epochs=1)
    result = trained(tmp_path / "child", recipe=recipe, inherit=tmp_path / "run")
    weights = load_file(tmp_path / "child/last.safetensors")
    assert np.allclose(weights["stem.conv0.weight"], state["stem.conv0.weight"], atol=1e-6)
    path = "cell0.node2.path1.depthwise0.weight"
    theirs = state["cell0.node2.input1.sep_conv_3x3.depthwise0.weight"]
    assert np.allclose(weights[path], theirs, atol=1e-6)
    assert (result.start, result.start_from) == ("supernet", str(tmp_path / "run"))
    assert any("sep_conv_5x5" in name for name in result.dropped)
    assert result.fresh == ()


def test_a_run_that_does_not_fit_is_named(tmp_path):
    supernet_of(tmp_path / "run", SEGMENTATION.model_copy(update={"channels": 6}))
    with pytest.raises(BadInput, match=r"run.supernet\.safetensors: the supernet's tensor stem"):
        trained(tmp_path / "child", inherit=tmp_path / "run")
    with pytest.raises(BadInput, match="a finished search leaves"):
        trained(tmp_path / "child", inherit=tmp_path)
    assert not (tmp_path / "child").exists()


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_segmentation_child_begins_on_a_backbone(classifier, tmp_path, stride):
    network = SEGMENTATION.model_copy(update={"output_stride": stride})
    # So low a rate leaves the weights where they began.
    recipe = replace(RECIPE, learning_rate=1e-12, epochs=1)
    result = trained(tmp_path / "child", network, recipe, backbone=classifier)
    theirs = load_file(classifier / "weights.safetensors")
    ours = load_file(tmp_path / "child/last.safetensors")
    backbone = {name for name in ours if not name.startswith("head.")}
    learned = {name for name in backbone if not name.endswith(("running_mean", "running_var"))}
    assert all(
        np.allclose(theirs[name], ours[name], atol=1e-6)
        for name in learned
        if not name.endswith("num_batches_tracked")
    )
    assert result.start == "backbone"
    assert {name.partition(".")[0] for name in result.fresh} == {"head"}
    assert not result.dropped


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": 6}, "has channels 4, the network to train has 6; give --channels 4"),
        ({"cells": 4}, "has cells 3, the network to train has 4; give --cells 3"),
    ],
)
def test_a_backbone_of_another_size_is_refused(classifier, tmp_path, changes, sentence):
    with pytest.raises(BadInput, match=sentence):
        trained(tmp_path / "child", SEGMENTATION.model_copy(update=changes), backbone=classifier)
    assert not (tmp_path / "child").exists()


def test_a_backbone_of_other_cells_or_another_stem_is_refused(classifier, tmp_path):
    with pytest.raises(BadInput, match="was trained with other cells"):
        trained(tmp_path / "child", genotype=load("data-m7"), backbone=classifier)
    trained(tmp_path / "cifar", CIFAR, replace(RECIPE, epochs=1))
    with pytest.raises(BadInput, match="train the backbone with datac train --network imagenet"):
        trained(tmp_path / "child", backbone=tmp_path / "cifar")


def test_a_damaged_backbone_is_refused(classifier, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "genotype.json").write_bytes((classifier / "genotype.json").read_bytes())
    weights = load_file(classifier / "weights.safetensors")
    weights.pop("stem.conv0.weight")
    save_file(weights, copy / "weights.safetensors")
    with pytest.raises(BadInput, match=r"tensor stem\.conv0\.weight is missing"):
        trained(tmp_path / "child", backbone=copy)
    (copy / "weights.safetensors").write_bytes(b"\x80\x04junk")
    with pytest.raises(BadInput, match="is a pickle"):
        trained(tmp_path / "child", backbone=copy)


def test_a_backbone_is_not_overwritten_by_its_own_child(classifier):
    with pytest.raises(BadInput, match="is also the folder to write"):
        trained(classifier, backbone=classifier)
    assert (classifier / "weights.safetensors").is_file()


def test_two_starts_are_one_too_many(classifier, tmp_path):
    with pytest.raises(BadInput, match="both --inherit and --backbone"):
        trained(tmp_path / "child", inherit=tmp_path, backbone=classifier)
    with pytest.raises(BadInput, match="both --backbone and --weights"):
        trained(tmp_path / "child", backbone=classifier, weights=classifier)


@pytest.mark.parametrize("network", [CIFAR, SEGMENTATION], ids=["cifar", "segmentation"])
def test_a_pruned_child_is_trained_on(tmp_path, network):
    whole = tmp_path / "whole"
    trained(whole, network, replace(RECIPE, epochs=1))
    prune(whole, ["normal/node2/path0"], tmp_path / "pruned")
    smaller = read_json(tmp_path / "pruned/genotype.json", Genotype)
    recipe = replace(RECIPE, learning_rate=1e-12, epochs=1)
    begun = {"genotype": smaller, "weights": tmp_path / "pruned"}
    result = trained(tmp_path / "child", network, recipe, **begun)
    theirs = load_file(tmp_path / "pruned/weights.safetensors")
    ours = load_file(tmp_path / "child/last.safetensors")
    learned = {name for name in ours if name.endswith((".weight", ".bias"))}
    assert all(np.allclose(theirs[name], ours[name], atol=1e-6) for name in learned)
    assert (result.start, result.fresh, result.dropped) == ("child", (), ())


def test_all_weights_of_another_network_are_refused(classifier, tmp_path):
    other = SEGMENTATION.model_copy(update={"channels": 6})
    with pytest.raises(BadInput, match="has network imagenet, the network to train has seg"):
        trained(tmp_path / "child", other, weights=classifier)
    wide = IMAGENET.model_copy(update={"channels": 6})
    with pytest.raises(BadInput, match=r"has channels 4, .* has 6; give --channels 4"):
        trained(tmp_path / "child", wide, weights=classifier)
    half = shutil.copytree(classifier, tmp_path / "half")
    mark(half, "child", finished=False)
    with pytest.raises(BadInput, match="unfinished child; finish it with datac train --resume"):
        trained(tmp_path / "child", IMAGENET, weights=half)
    mark(half, "run", finished=True)
    with pytest.raises(
        BadInput, match="a search; train a child with what it left, datac train --inherit"
    ):
        trained(tmp_path / "child", IMAGENET, weights=half)
    with pytest.raises(BadInput, match="was trained with other cells"):
        trained(tmp_path / "child", IMAGENET, genotype=load("data-m7"), weights=classifier)
    with pytest.raises(BadInput, match=r"--weights .* is also the folder to write"):
        trained(classifier, IMAGENET, weights=classifier)
    assert not (tmp_path / "child").exists()
