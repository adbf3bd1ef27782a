"""The search as a whole, on images of a few pixels: files, resumption, refusals."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from datac.cli import run
from datac.datasets.dataset import Sample
from datac.documents.genotype import Genotype
from datac.documents.network import Classes, Network
from datac.documents.read import read_genotype, read_json
from datac.documents.search_result import SearchResult
from datac.errors import BadInput, PlatformMissing
from datac.exit_codes import ExitCode
from datac.report.gap import gap_sentence
from searcher.halves import split_in_halves
from searcher.inherit import inherit
from searcher.method_options import MethodOptions
from searcher.monitor import Monitor
from searcher.recipes import SearchRecipe, Sizes, recipe_for
from searcher.search import SearchOptions, search

RECIPE = SearchRecipe(
    supernet=Sizes(2, 3), size=(8, 8), batch_size=4, epochs=3, warm_up=1, threads=1
)
CIFAR = Network(skeleton="cifar", channels=2, cells=3, classes=2, input=(3, 8, 8))
SEGMENTATION = Network(
    skeleton="segmentation",
    channels=2,
    cells=3,
    classes=2,
    input=(3, 16, 16),
    output_stride=8,
    head_channels=4,
)


CLASSES = Classes(names=("dark", "bright"))


@dataclass(frozen=True)
class Tiny:
    """Bright or dark images, or halves of images."""

    task: str = "classification"
    name: str = "tiny"
    count: int = 17
    digest: str = "0" * 64
    classes: Classes = CLASSES

    @property
    def splits(self) -> Mapping[str, Sequence[Sample]]:
        return {"train": self._samples(0, self.count), "val": self._samples(1, 5)}

    def _samples(self, seed: int, count: int) -> list[Sample]:
        random = np.random.default_rng(seed)
        samples = []
        for index in range(count):
            mask = np.zeros((16, 16), np.uint8)
            mask[: random.integers(1, 16) if self.task == "segmentation" else 16 * (index % 2)] = 1
            image = random.integers(0, 100, (16, 16, 3)) + 150 * mask[..., None]
            label = mask if self.task == "segmentation" else index % 2
            samples.append(Sample(str(index), image.astype(np.uint8), label))
        return samples


class Sorted(Tiny):
    """48 samples of each split by their class, as those of a folder are."""

    def _samples(self, seed: int, count: int) -> list[Sample]:
        return sorted(super()._samples(seed, 48), key=lambda sample: sample.label)


def options(network: Network = CIFAR, **changes: Any) -> SearchOptions:
    recipe = {key: changes.pop(key) for key in list(changes) if hasattr(RECIPE, key)}
    method = {key: changes.pop(key) for key in list(changes) if hasattr(MethodOptions, key)}
    return SearchOptions(
        network=network,
        recipe=replace(RECIPE, **recipe),
        method=MethodOptions(**method),
        **changes,
    )


def searched(out: Path, given: SearchOptions | None = None, **how: Any) -> SearchResult:
    return search(Tiny(), given or options(), out, device="cpu", quiet=True, **how)


def lines(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def assert_same_run(first: Path, second: Path) -> None:
    """Weights bit for bit, logits to the last digit, and the genotype."""
    a, b = (safetensors.torch.load_file(f / "supernet.safetensors") for f in (first, second))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert lines(first) == lines(second)
    assert (first / "genotype.json").read_bytes() == (second / "genotype.json").read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    searched(folder)
    return folder


def test_it_leaves_its_files(straight: Path) -> None:
    genotype = read_genotype(str(straight / "genotype.json"))
    assert genotype.network is not None
    assert genotype.network.channels == 2
    assert genotype.network.class_info == CLASSES
    assert genotype.network.preprocessing is not None
    assert genotype.network.preprocessing.resize == (8, 8)
    assert genotype.provenance is not None
    assert (genotype.provenance.method, genotype.provenance.draws) == ("data", 4)
    result = read_json(straight / "search_result.json", SearchResult)
    assert result.genotype == genotype
    assert (result.epochs, result.steps, result.dataset) == (3, 6, "tiny")
    names = {path.name for path in straight.iterdir()}
    assert {"metrics.jsonl", "checkpoint.pt", "supernet.safetensors", "tensorboard"} <= names
    assert json.loads((straight / ".datac.json").read_text()) == {"kind": "run", "finished": True}


def test_its_weights_can_be_inherited(straight: Path) -> None:
    genotype = read_genotype(str(straight / "genotype.json"))
    state = safetensors.torch.load_file(straight / "supernet.safetensors")
    assert genotype.network is not None
    weights, dropped = inherit(state, genotype, genotype.network)
    assert weights
    assert dropped


def test_codes_and_logits_are_recorded(straight: Path) -> None:
    records = lines(straight)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    for record in records:
        for counts in record["selected"].values():
            for group in counts:  # of two weight steps, each selected 1 to M = 4 columns
                assert 2 <= sum(group) <= 8
                assert max(group) <= 2
    assert records[0]["architecture_loss"] is None  # while warming up
    assert records[0]["logits"] != records[1]["logits"] != records[2]["logits"]
    assert records[-1]["temperature"] == 1.0


def test_the_same_seed_gives_the_same_and_another_one_does_not(
    straight: Path, tmp_path: Path
) -> None:
    torch.rand(7)  # whatever was drawn before does not matter
    searched(tmp_path / "again")
    assert_same_run(straight, tmp_path / "again")
    searched(tmp_path / "other", options(seed=1))
    assert lines(straight)[-1]["logits"] != lines(tmp_path / "other")[-1]["logits"]


@pytest.mark.parametrize("granularity", ["node", "edge"])
def test_segmentation_and_the_other_forms(tmp_path: Path, granularity: Any) -> None:
    given = options(
        SEGMENTATION, size=(16, 16), epochs=1, aggregation="mean", granularity=granularity, draws=7
    )
    result = search(Tiny("segmentation"), given, tmp_path / "run", device="cpu", quiet=True)
    assert result.genotype.aggregation == "mean"
    assert result.granularity == granularity
    assert 0 <= result.metrics["miou"] <= 1


# ---------------------------------------------------------------- interruption

KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_search import Monitor, searched

    written = Monitor.epoch

    def killed(self, record):
        written(self, record)
        if record.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    Monitor.epoch = killed
    searched(Path({out!r}))
"""


def test_a_killed_run_resumes_bit_for_bit(straight: Path, tmp_path: Path) -> None:
    """Killed between the second epoch's line and its checkpoint, the worst moment."""
    out = tmp_path / "run"
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), out=str(out))
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(lines(out)) == 2
    with pytest.raises(BadInput, match="give --resume or --restart"):
        searched(out)
    searched(out, resume=True)
    assert_same_run(straight, out)


@pytest.mark.parametrize("at", [3, 4])
def test_ctrl_c_saves_and_says_how_to_go_on(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    steps = []

    def advance(self: Monitor) -> None:
        steps.append(1)
        if len(steps) == at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Monitor, "advance", advance)
    with pytest.raises(KeyboardInterrupt, match=f"after step {at} of 6.*--resume goes on"):
        searched(tmp_path / "run")
    searched(tmp_path / "run", resume=True)
    assert len(steps) == 6
    assert_same_run(straight, tmp_path / "run")


def test_a_checkpoint_of_other_options_or_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def stop(self: Monitor) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Monitor, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        searched(out)
    with pytest.raises(BadInput, match="made with draws 4, not 7"):
        searched(out, options(draws=7), resume=True)
    with pytest.raises(BadInput, match="recipe epochs 3, not 5"):
        searched(out, options(epochs=5), resume=True)
    with pytest.raises(BadInput, match="data digest"):
        search(Tiny(digest="1" * 64), options(), out, device="cpu", resume=True, quiet=True)
    (out / "checkpoint.pt").unlink()
    with pytest.raises(BadInput, match="there is no checkpoint; give --restart"):
        searched(out, resume=True)


# ---------------------------------------------------------------- refusals and parts


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"draws": 0}, "-M 0: the number of draws must be 1 to 64"),
        ({"draws": 65}, "-M 65"),
        ({"batch_size": 1}, "--batch-size 1"),
        ({"network": CIFAR.model_copy(update={"cells": 2})}, "--cells 2"),
        ({"network": CIFAR.model_copy(update={"input": (1, 8, 8)})}, "1 channel:"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        options(**changes)


def test_too_few_samples_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="give a --batch-size of 8 or less"):
        searched(tmp_path / "run", options(batch_size=9))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_never_replaced_silently(tmp_path: Path) -> None:
    with pytest.raises(PlatformMissing, match=r"--device cuda: .* or give --device cpu"):
        search(Tiny(), options(), tmp_path / "run", device="cuda", quiet=True)
    assert not (tmp_path / "run").exists()


def test_auto_says_what_it_chose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search(Tiny(), options(epochs=1), tmp_path / "run")
    told = capsys.readouterr().err
    assert "chosen by --device auto" in told
    assert "epoch 1/1" in told


def test_a_validation_mixes_what_a_folder_sorts_by_class() -> None:
    splits = split_in_halves(Sorted(), CIFAR, replace(RECIPE, batch_size=12), seed=4)
    assert splits.validation is not None
    batches = [batch.labels.tolist() for batch in splits.validation.epoch(0)]
    assert sorted(label for batch in batches for label in batch) == [0] * 24 + [1] * 24
    assert all(set(batch) == {0, 1} for batch in batches)


def test_the_halves_share_no_sample() -> None:
    splits = split_in_halves(Tiny(), CIFAR, RECIPE, seed=4)
    weights, architecture = splits.weights.split.indices, splits.architecture.split.indices
    assert sorted([*weights, *architecture]) == list(range(17))
    assert (len(weights), len(architecture), splits.steps) == (9, 8, 2)
    again = split_in_halves(Tiny(), CIFAR, RECIPE, seed=4)
    assert again.weights.split.indices == weights
    assert split_in_halves(Tiny(), CIFAR, RECIPE, seed=5).weights.split.indices != weights


def test_the_published_recipe_has_the_published_numbers() -> None:
    """Data-NAS's train_search.py, which inherits from DARTS."""
    recipe = recipe_for("paper", Tiny())
    assert (recipe.supernet.channels, recipe.supernet.cells) == (16, 8)
    assert (recipe.child.channels, recipe.child.cells) == (36, 20)
    assert (recipe.epochs, recipe.batch_size, recipe.warm_up) == (100, 64, 0)
    assert (recipe.weight_rate, recipe.last_weight_rate, recipe.momentum) == (0.025, 0.001, 0.9)
    assert (recipe.weight_decay, recipe.clip_norm) == (3e-4, 5.0)
    assert recipe.architecture_rate_for(39_000) == 3e-4
    assert (recipe.architecture_betas, recipe.architecture_decay) == ((0.5, 0.999), 0.0)


@pytest.mark.parametrize(
    ("steps", "rate"), [(39_000, 3e-4), (1000, 0.0117), (234, 0.05), (1, 0.05)]
)
def test_a_short_search_takes_longer_steps(steps: int, rate: float) -> None:
    assert RECIPE.architecture_rate_for(steps) == pytest.approx(rate)


def test_a_rate_that_falls_lets_the_logits_go_as_far() -> None:
    falling = replace(RECIPE, last_architecture_rate=0.0)
    assert falling.architecture_rate_for(1000) == pytest.approx(2 * 0.0117)
    assert falling.architecture_rate_for(1) == 0.05


# ---------------------------------------------------------------- the command

SMALL = ["--channels", "2", "--cells", "3", "--crop", "8", "--batch-size", "64", "--epochs", "1"]


def test_the_command_writes_a_genotype_that_carries_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["search", "--task", "classification", "--device", "cpu", *SMALL]) == ExitCode.PASS
    copied = read_json(Path("genotype.json"), Genotype)
    assert copied == read_json(Path("run/genotype.json"), Genotype)
    assert copied.network is not None
    assert (copied.network.cells, copied.network.input) == (3, (3, 8, 8))
    assert copied.provenance is not None
    assert copied.provenance.dataset == "shapes-classification"
    told = capsys.readouterr().out
    assert "Genotype(" in told
    result = read_json(Path("run/search_result.json"), SearchResult)
    assert result.gap is not None
    assert gap_sentence(result.gap) in told
    assert result.options["crop"] == "8x8"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["-M", "0"], ExitCode.BAD_INPUT, "-M 0"),
        (["-M", "65"], ExitCode.BAD_INPUT, "-M 65"),
        (["--batch-size", "1"], ExitCode.BAD_INPUT, "--batch-size"),
        (["--data", "shapes", "--task", "classification"], ExitCode.BAD_INPUT, "--task"),
        (["--data", "shapes", "--network", "cifar"], ExitCode.BAD_INPUT, "cifar"),
        (["--data", "nowhere"], ExitCode.BAD_INPUT, "nowhere"),
        (["--resume"], ExitCode.BAD_INPUT, "nothing to resume"),
    ],
)
def test_a_refused_command_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: ExitCode,
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["search", "--device", "cpu", *arguments]) == code
    assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
