"""The training of a child: what it leaves, how it goes on, what it refuses."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from compiler.candidates import SEARCH_SPACE
from compiler.lower import lower
from compiler.torch_module import GraphModule, load_weights
from datac.cli import run
from datac.datasets import open_dataset
from datac.datasets.preprocess import prepared_network
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.read import read_json
from datac.documents.train_result import Score, TrainResult
from datac.errors import BadInput
from datac.output_folder import state_of
from datac.published import load
from exporters.prune import prune
from searcher import train as train_module
from searcher.child import batches_of
from searcher.evaluate import evaluate
from searcher.gumbel import Layout
from searcher.start import Sources
from searcher.supernet import Supernet
from searcher.train import TrainOptions, train
from searcher.train_recipes import RECIPES, Recipe

SEGMENTATION = Network(
    skeleton="segmentation",
    channels=4,
    cells=3,
    classes=6,
    input=(3, 32, 32),
    output_stride=16,
    head_channels=4,
)
IMAGENET = Network(skeleton="imagenet", channels=4, cells=3, classes=5, input=(3, 32, 32))
CIFAR = IMAGENET.model_copy(update={"skeleton": "cifar"})
RECIPE = replace(RECIPES["default"]["segmentation"], epochs=2, batch_size=4, drop_path=0.2)
GENOTYPE = load("data-m4")


def data(task="segmentation", train=8, val=4):
    """A few samples of the embedded data set."""
    dataset = open_dataset("shapes" if task == "segmentation" else "shapes-classification")
    counts = {"train": train, "val": val}
    return replace(
        dataset, splits={name: dataset.splits[name][:count] for name, count in counts.items()}
    )


def trained(out, network=SEGMENTATION, recipe=RECIPE, genotype=GENOTYPE, **changes):
    folders = ("inherit", "backbone", "weights")
    sources = Sources(**{name: changes.pop(name) for name in folders if name in changes})
    options = {"seed": changes.pop("seed")} if "seed" in changes else {}
    task = "segmentation" if network.task == "segmentation" else "classification"
    dataset = changes.pop("dataset", None) or data(task)
    asked = TrainOptions(network=network, recipe=recipe, sources=sources, **options)
    return train(genotype, dataset, asked, out, device="cpu", quiet=True, **changes)


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "child"
    return out, trained(out)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "classifier"
    trained(out, IMAGENET)
    return out


def logged(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def equal_files(one, other, *names):
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


# ---------------------------------------------------------------- what it leaves


def test_the_folder_holds_what_a_compile_needs(child):
    out, result = child
    genotype = Genotype.model_validate_json((out / "genotype.json").read_text())
    assert genotype.hash == GENOTYPE.hash == result.genotype_hash
    network = genotype.network
    assert network == prepared_network(SEGMENTATION, data())
    assert network.preprocessing.resize == (32, 32)
    assert network.class_info.names[0] == "background"
    # Strict: every tensor of the graph that is exported, and no auxiliary head.
    module = GraphModule(lower(genotype, network))
    load_weights(module, load_file(out / "weights.safetensors"), "weights")
    load_weights(module, load_file(out / "last.safetensors"), "last")
    assert state_of(out) == ("child", True)
    assert not (out / "checkpoint.pt").exists()


def test_the_best_weights_are_those_of_the_best_score(child):
    out, result = child
    dataset, network = data(), prepared_network(SEGMENTATION, data())
    batches = batches_of(dataset, network, RECIPE, 0, training=False)
    for name, score in (("weights", result.best), ("last", result.last)):
        module = GraphModule(lower(GENOTYPE, network))
        load_weights(module, load_file(out / f"{name}.safetensors"), name)
        found = evaluate(module, batches, 6, "segmentation")
        assert found.miou == pytest.approx(score.miou, abs=1e-6)
        assert found.loss == pytest.approx(score.loss, rel=1e-4)
    assert result.best.miou >= result.last.miou


def test_the_result_says_how_it_was_made(child):
    out, result = child
    assert TrainResult.model_validate_json((out / "train_result.json").read_text()) == result
    assert (result.epochs, result.steps, result.metric) == (2, 4, "miou")
    assert (result.dataset, result.start, result.start_from) == ("shapes", "scratch", None)
    assert result.options["drop_path"] == 0.2
    assert result.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


def test_metrics_have_a_line_an_epoch(child):
    out, result = child
    lines = logged(out)
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[-1]["miou/val"] == result.last.miou
    assert list((out / "tensorboard").iterdir())


def test_the_same_seed_gives_the_same_weights(child, tmp_path):
    out, _ = child
    trained(tmp_path / "again")
    assert equal_files(out, tmp_path / "again", "weights.safetensors", "last.safetensors")
    trained(tmp_path / "other", seed=1)
    assert not equal_files(out, tmp_path / "other", "last.safetensors")


@pytest.mark.parametrize("network", [CIFAR, IMAGENET], ids=lambda network: network.skeleton)
def test_classification_trains_too(tmp_path, network):
    result = trained(tmp_path / "child", network, replace(RECIPE, epochs=1))
    assert result.metric == "accuracy"
    assert 0 <= result.best.metric <= 1
    assert result.best.miou is None


def test_it_learns(tmp_path):
    few = data(train=4, val=4)
    few = replace(few, splits={"train": few.splits["train"], "val": few.splits["train"]})
    still = replace(RECIPE.augmentation, scales=(1.0, 1.0), colour=0.0)
    recipe = replace(RECIPE, epochs=25, drop_path=0.0, augmentation=still, learning_rate=0.02)
    result = trained(tmp_path / "child", recipe=recipe, dataset=few)
    assert result.last.loss < 0.8 * logged(tmp_path / "child")[0]["loss/val"]


# ---------------------------------------------------------------- going on

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_train as tests
import searcher.train as module

step = module._Training.take
count = 0

def killed(run, batch):
    global count
    step(run, batch)
    count += 1
    if count == 3:
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))

module._Training.take = killed
tests.trained(Path(sys.argv[2]))
"""


def stop_in_the_second_epoch(out, name):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(out), name]
    root = str(Path(train_module.__file__).parents[1])
    # As many threads as here: sums in another order have other last bits.
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": threads}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_going_on_gives_the_weights_of_the_run_that_was_not_stopped(child, tmp_path, name):
    out, _ = child
    stopped = stop_in_the_second_epoch(tmp_path / "child", name)
    assert stopped.returncode != 0
    if name == "SIGINT":
        assert "KeyboardInterrupt: interrupted after step 3 of 4" in stopped.stderr
        assert "--resume goes on" in stopped.stderr
    assert state_of(tmp_path / "child") == ("child", False)
    with pytest.raises(BadInput, match="unfinished child; give --resume or --restart"):
        trained(tmp_path / "child")
    with pytest.raises(BadInput, match="was made with seed 0, not 1"):
        trained(tmp_path / "child", seed=1, resume=True)
    result = trained(tmp_path / "child", resume=True)
    assert (result.epochs, result.steps) == (2, 4)
    assert equal_files(out, tmp_path / "child", "weights.safetensors", "last.safetensors")
    assert [line["epoch"] for line in logged(tmp_path / "child")] == [1, 2]


# ---------------------------------------------------------------- starts


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
        ({"channels": 6}, "has 4 channels, the network to train has 6; give --channels 4"),
        ({"cells": 4}, "has 3 cells, the network to train has 4; give --cells 3"),
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
    with pytest.raises(BadInput, match="has 4 channels, the network to train has 6"):
        trained(tmp_path / "child", other, weights=classifier)
    with pytest.raises(BadInput, match=r"weights\.safetensors: tensor head\..* is missing"):
        trained(tmp_path / "child", SEGMENTATION, weights=classifier)
    with pytest.raises(BadInput, match="was trained with other cells"):
        trained(tmp_path / "child", IMAGENET, genotype=load("data-m7"), weights=classifier)
    with pytest.raises(BadInput, match=r"--weights .* is also the folder to write"):
        trained(classifier, IMAGENET, weights=classifier)
    assert not (tmp_path / "child").exists()


# ---------------------------------------------------------------- what it refuses


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="was not written by datac"):
        trained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_batch_of_one_is_refused():
    with pytest.raises(BadInput, match="--batch-size 1"):
        TrainOptions(network=SEGMENTATION, recipe=replace(RECIPE, batch_size=1))


# ---------------------------------------------------------------- the command

SIZES = ["--channels", "4", "--cells", "3", "--crop", "32", "--device", "cpu"]


def test_the_command_trains_and_says_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("datac.datasets.open_dataset", lambda _: data())
    arguments = ["--head-channels", "4", "--epochs", "1", "--out", str(tmp_path / "child")]
    assert run(["train", "data-m4", "--data", "shapes", *SIZES, *arguments]) == 0
    printed = capsys.readouterr()
    assert "best: epoch 1, mIoU 0." in printed.out
    assert "epoch 1/1: loss" in printed.err
    result = TrainResult.model_validate_json((tmp_path / "child/train_result.json").read_text())
    assert result.options["crop"] == "32x32"
    assert result.options["seed"] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--classes", "4"], "--classes 4 disagrees with shapes, which has 6 classes"),
        (["--network", "cifar"], "but the cifar network answers classification"),
        (["--inherit", "nowhere"], "nowhere: there is no supernet.safetensors"),
        (["--learning-rate", "0"], "learning-rate"),
        (["--learning-rate", "nan"], "nan is no finite number"),
        (["--learning-rate", "inf"], "inf is no finite number"),
    ],
)
def test_bad_options_end_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "data-m4", "--data", "shapes", *SIZES, *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize("recipe", [*RECIPES["default"].values(), *RECIPES["paper"].values()])
def test_rates_rise_then_fall_to_nothing(recipe: Recipe):
    steps = 200
    rates = [recipe.rate_at(step, steps) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert top <= recipe.warm_up * steps
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.02 * recipe.learning_rate
    assert recipe.drop_path_at(0) == 0
    assert recipe.drop_path_at(recipe.epochs - 1) < recipe.drop_path or not recipe.drop_path


def test_of_equal_metrics_the_smaller_loss_is_the_better():
    first, second = (Score(epoch=e, loss=3.0 - e, accuracy=0.5, miou=0.1) for e in (1, 2))
    assert second.rank > first.rank
    assert Score(epoch=1, loss=9.0, accuracy=0.5, miou=0.2).rank > second.rank
