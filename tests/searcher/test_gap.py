"""The gap: zero where supernet and child are one, signed, none at chance, and the same again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import searcher.gap
import searcher.search
from compiler.candidates import SEARCH_SPACE
from datac.datasets import open_dataset
from datac.datasets.confusion import Confusion
from datac.documents.network import Network
from datac.documents.read import read_json
from datac.documents.search_result import SearchResult
from searcher.augment import IGNORED, Batch
from searcher.gap import DRAWS, Chance, SearchEnd, _ByBatch, inherited_child, measure_gap
from searcher.method_options import MethodOptions
from searcher.methods import METHODS, Drawing
from searcher.recipes import SearchRecipe, Sizes
from searcher.search import SearchOptions, search
from searcher.supernet import FixedCode, Supernet, code_of

CIFAR = Network(skeleton="cifar", channels=4, cells=3, classes=3, input=(3, 12, 12))
SEGMENTATION = Network(
    skeleton="segmentation",
    channels=4,
    cells=3,
    classes=3,
    input=(3, 32, 32),
    output_stride=16,
    head_channels=4,
)
WITHOUT_POOLS = tuple(name for name in SEARCH_SPACE if "pool" not in name)


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Given:
    """Batches that are there already."""

    batches: Sequence[Batch]

    def epoch(self, number: int) -> Iterator[Batch]:
        return iter(self.batches)


def images_of(network: Network, count: int = 2) -> Given:
    """Noise, with labels of every class."""
    random = torch.Generator().manual_seed(1)
    size = network.input[1:]
    shape = (8, *size) if network.task == "segmentation" else (8,)
    return Given(
        [
            Batch(
                torch.randn(8, 3, *size, generator=random),
                torch.randint(0, network.classes, shape, generator=random),
            )
            for _ in range(count)
        ]
    )


def end_of(
    network: Network = CIFAR,
    name: str = "data",
    *,
    aggregation: Any = "sum",
    candidates: tuple[str, ...] = WITHOUT_POOLS,
    sure: bool = False,
    seed: int = 3,
) -> SearchEnd:
    """Random weights. `sure`: logits that draw one path of a node, always the same."""
    torch.manual_seed(seed)
    method = MethodOptions(name).make(candidates, 2, aggregation, network)
    supernet = Supernet(network, method.layout, aggregation)
    logits = method.initial_logits(torch.Generator().manual_seed(seed))
    for values in logits.values() if sure else ():
        values.detach().fill_(-1e4)[:, 2] = 1e4
    return SearchEnd(supernet, network, method, logits, method.derive(logits), 1.0)


# ---------------------------------------------------------------- zero by construction


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("network", [CIFAR, SEGMENTATION])
def test_a_supernet_that_is_its_child_has_no_gap_by_batch_statistics(
    network: Network, aggregation: str
) -> None:
    end = end_of(network, aggregation=aggregation, sure=True)
    gap = measure_gap(end, images_of(network), seed=0)
    assert gap is not None
    assert set(gap.sampled) == {gap.derived} == {gap.recomputed}
    assert gap.spread == gap.parts["derivation"] == gap.parts["form"] == 0


@pytest.mark.parametrize("network", [CIFAR, SEGMENTATION])
@pytest.mark.parametrize("name", METHODS)
def test_the_child_computes_what_the_supernet_does_with_its_code(
    network: Network, name: str
) -> None:
    end = end_of(network, name)
    codes = {k: code_of(cell, end.method.layout) for k, cell in end.derived.cells.items()}
    child = inherited_child(end.supernet, end.derived.genotype(), network)
    x = images_of(network).batches[0].images
    with torch.inference_mode():
        found = _ByBatch(child).eval()(x)
        assert torch.equal(found, FixedCode(end.supernet, codes).eval()(x))
        assert not torch.equal(found, child.eval()(x))


def test_statistics_of_the_very_batch_leave_no_gap_at_all() -> None:
    end, given = end_of(sure=True), images_of(CIFAR, 1)
    for norm in end.supernet.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    codes = end.method.for_weights(Drawing(end.logits, torch.Generator(), 1.0, torch.device("cpu")))
    end.supernet.train()(given.batches[0].images, codes)
    gap = measure_gap(end, given, seed=0)
    assert gap is not None
    assert gap.supernet - gap.child == 0


def test_behind_a_pool_the_forms_differ() -> None:
    end = end_of(candidates=("none", "skip_connect", "max_pool_3x3"), sure=True)
    codes = {k: code_of(cell, end.method.layout) for k, cell in end.derived.cells.items()}
    child = inherited_child(end.supernet, end.derived.genotype(), CIFAR)
    x = images_of(CIFAR).batches[0].images
    with torch.inference_mode():
        supernet, own = FixedCode(end.supernet, codes).eval()(x), _ByBatch(child).eval()(x)
    assert not torch.allclose(supernet, own)


# ---------------------------------------------------------------- draws


def test_the_same_seed_draws_the_same_and_moves_nothing() -> None:
    end, given = end_of(SEGMENTATION), images_of(SEGMENTATION)
    before = {name: tensor.clone() for name, tensor in end.supernet.state_dict().items()}
    state = torch.get_rng_state()
    gap = measure_gap(end, given, seed=4)
    assert measure_gap(end, given, seed=4) == gap
    assert torch.equal(torch.get_rng_state(), state)
    assert end.supernet.training
    for name, tensor in end.supernet.state_dict().items():
        assert torch.equal(tensor, before[name])
    other = measure_gap(end, given, seed=5)
    assert gap is not None
    assert other is not None
    assert gap.sampled != other.sampled
    assert gap.model_copy(update={"sampled": other.sampled}) == other


@pytest.mark.parametrize(
    ("name", "sure", "measured"), [("data", False, DRAWS), ("darts", False, 1), ("gdas", True, 1)]
)
def test_what_was_drawn_before_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, name: str, sure: bool, measured: int
) -> None:
    asked = []

    def counted(module: nn.Module, *rest: Any) -> Any:
        asked.append(module)
        return evaluate(module, *rest)

    evaluate = searcher.gap.evaluate
    monkeypatch.setattr(searcher.gap, "evaluate", counted)
    gap = measure_gap(end_of(name=name, sure=sure), images_of(CIFAR), seed=0)
    assert gap is not None
    assert len(gap.sampled) == DRAWS
    assert len(asked) == measured + 3


# ---------------------------------------------------------------- chance


@pytest.mark.parametrize("counts", [[3, 1, 0], [5, 5, 5], [0, 0, 2], [1, 90, 9]])
def test_chance_is_what_the_best_single_answer_has(counts: list[int]) -> None:
    labels = np.repeat(np.arange(3), counts)
    answers = [Confusion(3) for _ in range(3)]
    for number, answer in enumerate(answers):
        answer.update(np.full_like(labels, number), labels)
    accuracy, miou = (Chance.of(counts, 50, metric) for metric in ("accuracy", "miou"))
    assert accuracy.value == pytest.approx(max(answer.accuracy for answer in answers))
    assert miou.value == pytest.approx(max(answer.miou for answer in answers))
    share = max(counts) / sum(counts)
    assert accuracy.margin == pytest.approx(2 * (share * (1 - share) / 50) ** 0.5)
    assert miou.margin <= accuracy.margin


def test_luck_stays_within_the_margin() -> None:
    """Of networks that know nothing one in forty is luckier."""
    random = np.random.default_rng(0)
    chance = Chance.of([40, 30, 30], 100, "accuracy")
    lucky = random.binomial(100, 0.4, 10_000) / 100 > chance.value + chance.margin
    assert lucky.mean() < 0.03


def test_a_supernet_that_learned_nothing_has_no_gap() -> None:
    gap = measure_gap(end_of(), images_of(CIFAR), seed=0)
    assert gap is not None
    assert gap.at_chance
    assert gap.gap is None
    assert gap.samples == 16


def test_labels_that_do_not_count_give_no_gap() -> None:
    given = images_of(SEGMENTATION)
    nothing = [Batch(b.images, torch.full_like(b.labels, IGNORED)) for b in given.batches]
    assert measure_gap(end_of(SEGMENTATION), Given(nothing), seed=0) is None


# ---------------------------------------------------------------- searches

DATA = "shapes-classification"
RECIPE = SearchRecipe(
    supernet=Sizes(2, 3),
    size=(8, 8),
    batch_size=4,
    epochs=2,
    longest_epoch=2,
    validation_samples=8,
    threads=1,
)


def options(name: str = "data", **changes: Any) -> SearchOptions:
    classes = len(open_dataset(DATA).classes.names)
    network = Network(skeleton="cifar", channels=2, cells=3, classes=classes, input=(3, 8, 8))
    given = {
        "network": network,
        "recipe": RECIPE,
        "method": MethodOptions(name),
        "candidates": ("none", "skip_connect", "sep_conv_3x3"),
        "nodes": 2,
        "child": network.model_copy(update={"cells": 4, "channels": 4}),
        **changes,
    }
    return SearchOptions(**given)


def searched(out: Path, given: SearchOptions, **how: Any) -> SearchResult:
    return search(open_dataset(DATA), given, out, device="cpu", quiet=True, **how)


@pytest.mark.parametrize("name", METHODS)
def test_every_search_ends_with_its_gap(tmp_path: Path, name: str) -> None:
    """In its own network, whatever the genotype is written for."""
    result = searched(tmp_path / "run", options(name))
    gap = result.gap
    assert gap is not None
    assert (gap.metric, gap.samples, len(gap.sampled)) == ("accuracy", 8, DRAWS)
    assert gap.derived == result.metrics["accuracy"]
    assert read_json(tmp_path / "run" / "search_result.json", SearchResult) == result


def test_what_was_not_trained_has_no_gap(tmp_path: Path) -> None:
    given = options("random", recipe=replace(RECIPE, epochs=0))
    assert searched(tmp_path / "run", given).gap is None


@pytest.mark.parametrize("name", ["data", "snas"])
def test_a_search_interrupted_while_it_measures_measures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    straight, out = tmp_path / "straight", tmp_path / "run"
    expected = searched(straight, options(name))

    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(searcher.search, "measure_gap", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"after step 4 of 4.*--resume goes on"):
            searched(out, options(name))
    assert not (out / "search_result.json").exists()
    assert json.loads((out / ".datac.json").read_text())["finished"] is False
    found = searched(out, options(name), resume=True)
    assert found.gap == expected.gap
    assert found.genotype == expected.genotype
    supernets = [folder / "supernet.safetensors" for folder in (straight, out)]
    assert supernets[0].read_bytes() == supernets[1].read_bytes()
