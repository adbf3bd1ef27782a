"""The training of a child: what it leaves, how it goes on, what it refuses."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from trainings import CIFAR, GENOTYPE, IMAGENET, RECIPE, SEGMENTATION, data, trained

from compiler.lower import lower
from compiler.torch_module import GraphModule, load_weights
from datac.cli import run
from datac.datasets.preprocess import prepared_network
from datac.documents.genotype import Genotype
from datac.documents.train_result import Score, TrainResult
from datac.errors import BadInput
from datac.output_folder import state_of
from searcher import train as train_module
from searcher.child import batches_of
from searcher.evaluate import evaluate
from searcher.train import TrainOptions
from searcher.train_recipes import RECIPES, Recipe


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "child"
    return out, trained(out)


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
