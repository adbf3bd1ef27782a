"""A loss that is no longer finite: the run ends at that step, says why, and loses nothing."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from datac.cli import run
from datac.datasets import open_dataset
from datac.documents.network import Network
from datac.errors import BadInput
from datac.exit_codes import ExitCode
from datac.published import load
from searcher.divergence import (
    HUGE_LOGIT,
    REMEMBERED,
    Evidence,
    NotFiniteError,
    Watch,
    cause_of,
    check_finite,
)
from searcher.method_options import MethodOptions
from searcher.recipes import SearchRecipe, Sizes
from searcher.search import SearchOptions, _Search, search
from searcher.train import TrainOptions, _Training, train
from searcher.train_recipes import RECIPES

DATA = "shapes-classification"
CLASSES = len(open_dataset(DATA).classes.names)
NETWORK = Network(skeleton="cifar", channels=2, cells=3, classes=CLASSES, input=(3, 8, 8))
SEARCH = SearchRecipe(
    supernet=Sizes(2, 3),
    size=(8, 8),
    batch_size=4,
    epochs=2,
    warm_up=1,
    longest_epoch=4,
    validation_samples=8,
    threads=1,
)
TRAIN = replace(RECIPES["default"]["cifar"], epochs=2, batch_size=4)
METHODS = {
    "data": MethodOptions("data"),
    "single": MethodOptions("data", level="single"),
    "darts": MethodOptions("darts"),
    "snas": MethodOptions("snas"),
    "gdas": MethodOptions("gdas"),
    "random": MethodOptions("random"),
}
AT = 5
"""The step that fails, counted from 0: the second of the second epoch, after the warm-up."""

STILL = r"checkpoint\.pt still holds step 4"
AGAIN = rf"{STILL}, which leads here again: give --restart with "
MENDED = rf"{STILL} for --resume, or give --restart with the data set mended$"

Fault = Callable[[Any, Any], None]
"""Does harm to a run and the batches of the step that it is about to take."""


def searched(out: Path, method: str = "data", recipe: SearchRecipe = SEARCH, **how: Any) -> None:
    candidates = ("none", "skip_connect", "sep_conv_3x3")
    options = SearchOptions(NETWORK, recipe, None, METHODS[method], candidates, nodes=2)
    search(open_dataset(DATA), options, out, device="cpu", quiet=True, **how)


def trained(out: Path, recipe: Any = TRAIN, **how: Any) -> None:
    dataset = open_dataset(DATA)
    few = {"train": dataset.splits["train"][:16], "val": dataset.splits["val"][:4]}
    options = TrainOptions(network=NETWORK, recipe=recipe)
    dataset = replace(dataset, splits=few)
    train(load("data-m4"), dataset, options, out, device="cpu", quiet=True, **how)


class Failing:
    """Takes the steps of a run, and does harm before one of them."""

    def __init__(self, kind: Any, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken, self.before, self.after = 0, {}, {}
        real = kind.take

        def take(this: Any, batches: Any) -> None:
            self.taken += 1
            if this.step == AT:
                fault(this, batches)
            self.before = copied(this.learners())
            try:
                real(this, batches)
            finally:
                self.after = copied(this.learners())

        monkeypatch.setattr(kind, "take", take)

    def moved(self) -> list[str]:
        """What the last step moved."""
        return [
            name
            for name, values in self.before.items()
            if not torch.equal(values.nan_to_num(7.0), self.after[name].nan_to_num(7.0))
        ]


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def break_images(_: Any, batches: Any) -> None:
    for batch in batches if isinstance(batches, tuple) else (batches,):
        if batch is not None:
            batch.images[1, 2, 3, 4] = math.inf


def break_a_weight(this: Any, _: Any) -> None:
    """Of the stem, which every code runs."""
    with torch.no_grad():
        this.learners()["stem.conv.weight"][0] = math.nan


def inflate_a_logit(this: Any, _: Any) -> None:
    with torch.no_grad():
        this.alternation.logits["reduction"][0, 1] = 3e38


def assert_it_lost_nothing(folder: Path, again: Callable[..., None], straight: Path) -> None:
    """It goes on from its checkpoint to what a run without the fault comes to."""
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    with pytest.raises(BadInput, match="--resume or --restart"):
        again(folder)
    again(folder, resume=True)
    again(straight)
    weights = next(
        name for name in ("supernet", "last") if (straight / f"{name}.safetensors").exists()
    )
    first, second = (each / f"{weights}.safetensors" for each in (straight, folder))
    assert first.read_bytes() == second.read_bytes()


# ---------------------------------------------------------------- a search


@pytest.mark.parametrize(
    ("method", "late"),
    [(method, False) for method in METHODS]
    # Of the logits' gradient, which a method without logits lacks, a late watch tells at once too.
    + [(method, True) for method in METHODS if method != "random"],
)
def test_a_search_stops_at_the_step_and_goes_on_from_the_checkpoint(
    tmp_path: Path, method: str, late: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("searcher.epochs.Watch", lambda **_: Watch(late=late))
        failing = Failing(_Search, break_a_weight, patch)
        sentence = (
            r"^the loss is nan at step 6, in epoch 2: stem\.conv\.weight was not finite before "
            rf"that step; .*{AGAIN}a --learning-rate below"
        )
        with pytest.raises(BadInput, match=sentence):
            searched(tmp_path / "run", method)
        assert failing.taken == AT + 1
        assert failing.moved() == []
    assert_it_lost_nothing(
        tmp_path / "run", lambda out, **how: searched(out, method, **how), tmp_path / "straight"
    )


@pytest.mark.parametrize("method", ["data", "single", "random"])
def test_images_are_suspected_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def break_both(this: Any, batches: Any) -> None:
        break_images(this, batches)
        break_a_weight(this, batches)

    failing = Failing(_Search, break_both, monkeypatch)
    sentence = f"at step 6.*{DATA} gave images that are not finite; .*{MENDED}"
    with pytest.raises(BadInput, match=sentence):
        searched(tmp_path / "run", method)
    assert failing.moved() == []


def test_a_logit_that_has_grown_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finite itself, but not when it is divided by a temperature below 1."""
    Failing(_Search, inflate_a_logit, monkeypatch)
    with pytest.raises(BadInput, match=r"a logit of the reduction cell has grown to 3e\+38"):
        searched(tmp_path / "run", "snas")


def test_a_search_at_too_large_a_rate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights diverge by themselves."""
    monkeypatch.chdir(tmp_path)
    sizes = ["--channels", "2", "--cells", "3", "--head-channels", "4", "--crop", "16"]
    short = ["--batch-size", "8", "--epochs", "1", "--learning-rate", "1e30"]
    arguments = ["search", "--device", "cpu", *sizes, *short]
    assert run(arguments) == ExitCode.BAD_INPUT
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("datac:")]
    assert len(said) == 1
    assert "in epoch 1" in said[0]
    assert "run/checkpoint.pt still holds step 0, which leads here again" in said[0]
    assert said[0].endswith("--restart with a --learning-rate below 1e+30")
    assert not Path("run/metrics.jsonl").exists()
    assert not Path("genotype.json").exists()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_only_what_may_go_otherwise_is_resumed(device: str) -> None:
    """On a GPU sums are not in the same order each time."""
    run: Any = SimpleNamespace(fabric=SimpleNamespace(device=torch.device(device)), schedule=SEARCH)
    offered = {damaged: "--resume" in _Search._way_out(run, damaged) for damaged in (True, False)}
    assert offered == {True: True, False: device == "cuda"}


# ---------------------------------------------------------------- a training


def test_a_training_stops_at_the_step_and_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        failing = Failing(_Training, break_a_weight, patch)
        sentence = (
            r"^the loss is nan at step 6, in epoch 2: stem\.conv\.weight was not finite before "
            rf"that step; .*{AGAIN}a --learning-rate below 0\.004$"
        )
        with pytest.raises(BadInput, match=sentence):
            trained(tmp_path / "child")
        assert failing.taken == AT + 1
        assert failing.moved() == []
    assert_it_lost_nothing(tmp_path / "child", trained, tmp_path / "straight")


def test_images_of_a_training_are_suspected_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Failing(_Training, break_images, monkeypatch)
    with pytest.raises(BadInput, match=f"{DATA} gave images.*{MENDED}"):
        trained(tmp_path / "child")


def test_a_training_at_too_large_a_rate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--network", "cifar", "--channels", "2", "--cells", "3", "--crop", "8"]
    rate = ["--batch-size", "32", "--learning-rate", "1e30", "--device", "cpu"]
    assert run(["train", "data-m4", "--data", DATA, *sizes, *rate]) == ExitCode.BAD_INPUT
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("datac:")]
    assert len(said) == 1
    assert re.search(r"nan at step 2, in epoch 1: .* has grown to .*, so the steps", said[0])
    assert said[0].endswith("leads here again: give --restart with a --learning-rate below 1e+30")
    assert not Path("child/weights.safetensors").exists()


def test_a_gradient_that_is_not_finite_is_no_better_than_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a path that is seldom drawn the loss would tell many steps, and checkpoints, later."""

    def break_a_gradient(this: Any, _: Any) -> None:
        this.learners()["stem.conv.weight"].register_hook(lambda gradient: gradient * math.nan)

    failing = Failing(_Training, break_a_gradient, monkeypatch)
    with pytest.raises(BadInput, match=r"^the gradient of the weights is nan at step 6"):
        trained(tmp_path / "child")
    assert failing.moved() == []


def test_no_checkpoint_is_made_of_weights_that_a_step_has_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of an epoch: no loss would tell before they are saved."""
    real = _Training.take

    def take(this: _Training, batch: Any) -> None:
        real(this, batch)
        if this.step == 7:
            with torch.no_grad():
                this.learners()["stem.conv.weight"][0] = -math.inf

    monkeypatch.setattr(_Training, "take", take)
    sentence = rf"^stem\.conv\.weight is -inf at step 8, in epoch 2: that step moved.*{AGAIN}"
    with pytest.raises(BadInput, match=sentence):
        trained(tmp_path / "child")


# ---------------------------------------------------------------- looks and causes

ONE = torch.ones(())


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.inf)])
def test_a_late_watch_tells_at_the_next_look_which_step_it_was(loss: float, norm: float) -> None:
    watch = Watch(late=True)
    watch.look(3, "weights", ONE, ONE)
    watch.look(4, "weights", torch.tensor(loss), torch.tensor(norm))
    with pytest.raises(NotFiniteError, match="at step 4") as found:
        watch.look(5, "weights", ONE, ONE)
    assert found.value.moved
    assert watch.norms == (1.0,)


def test_a_late_watch_tells_of_the_step_before_first() -> None:
    watch = Watch(late=True)
    watch.look(3, "weights", torch.tensor(math.nan), ONE)
    with pytest.raises(NotFiniteError, match="the loss is nan at step 3"):
        watch.look(4, "logits", torch.tensor(math.nan), torch.tensor(math.nan))


def test_a_late_watch_is_read_before_a_checkpoint() -> None:
    watch = Watch(late=True)
    watch.look(3, "logits", torch.tensor(math.nan), ONE)
    with pytest.raises(NotFiniteError, match="the loss is nan at step 3"):
        watch.settle()
    watch.settle()


def test_a_watch_remembers_the_last_norms_of_the_weights() -> None:
    watch = Watch()
    watch.look(0, "logits", ONE, torch.tensor(5.0))
    for step in range(REMEMBERED + 2):
        watch.look(step, "weights", ONE, torch.tensor(float(step)))
    assert watch.norms == tuple(map(float, range(2, REMEMBERED + 2)))


def evidence(**changes: Any) -> Evidence:
    """One in which everything is wrong, but for the changes."""
    wrong = {
        "images_finite": False,
        "learners": {"sound": ONE, "stem": torch.tensor([1.0, math.nan])},
        "logits": {"a logit": torch.tensor([0.0, -2 * HUGE_LOGIT])},
        "norms": (2.0, 3.0, 4e6),
    }
    return Evidence("shapes", **{**wrong, **changes})


def test_causes_are_looked_for_in_order() -> None:
    found = NotFiniteError("the loss", math.nan, 5, moved=False)
    right: dict[str, Any] = {}
    for name, value, cause in (
        ("images_finite", True, "shapes gave images that are not finite"),
        ("learners", {"sound": ONE, "stem": 4e6 * ONE}, "stem was not finite before that step"),
        ("logits", {"a logit": ONE}, "a logit has grown to 200"),
        ("learners", {"sound": ONE}, "stem has grown to 4e+06, so the steps are too long"),
        ("norms", (2.0, 3.0, 2.5), "the norm of the gradient grew from 2 to 4e+06"),
    ):
        assert cause in cause_of(found, evidence(**right))
        right[name] = value
    assert cause_of(found, evidence(**right)) == "its activations overflow"


def test_weights_that_have_moved_since_are_not_blamed() -> None:
    found = NotFiniteError("the loss", math.nan, 5, moved=True)
    assert "a logit has grown" in cause_of(found, evidence(images_finite=True))


def test_what_a_step_broke_is_named_with_its_value() -> None:
    check_finite({"sound": ONE}, 3)
    with pytest.raises(NotFiniteError, match="broken is -inf at step 3") as found:
        check_finite({"sound": ONE, "broken": torch.tensor([1.0, -math.inf])}, 3)
    assert cause_of(found.value, evidence(images_finite=True)) == "that step moved it too far"
