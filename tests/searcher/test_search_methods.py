"""A search by each method from end to end: files, resumption, refusals, the command."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from datac.cli import run
from datac.datasets import open_dataset
from datac.documents.network import Network
from datac.documents.read import read_genotype, read_json
from datac.documents.search_result import SearchResult
from datac.errors import BadInput
from datac.exit_codes import ExitCode
from searcher.halves import keep_whole
from searcher.method_options import MethodOptions
from searcher.methods import METHODS
from searcher.monitor import Monitor
from searcher.recipes import SearchRecipe, Sizes
from searcher.search import SearchOptions, search
from searcher.start import Sources, start_from

RECIPE = SearchRecipe(
    supernet=Sizes(2, 3),
    size=(8, 8),
    batch_size=4,
    epochs=2,
    warm_up=1,
    longest_epoch=2,
    validation_samples=8,
    threads=1,
)
NETWORK = Network(skeleton="cifar", channels=2, cells=3, classes=6, input=(3, 8, 8))
CANDIDATES = ("none", "skip_connect", "sep_conv_3x3", "sep_conv_7x7")
DATA = "shapes-classification"

FORMS: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in METHODS},
    "clamp": {"probabilities": "clamp", "adc": 0.1, "granularity": "edge"},
    "single": {"level": "single", "adc": 0.1},
    "snas in turn": {"name": "snas", "level": "alternating"},
    "matched": {"name": "random", "match_macs": 60_000, "match_tolerance": 0.3},
}


def options(form: str = "data", **changes: Any) -> SearchOptions:
    classes = len(open_dataset(DATA).classes.names)
    given: dict[str, Any] = {
        "network": NETWORK.model_copy(update={"classes": classes}),
        "recipe": RECIPE,
        "method": MethodOptions(**FORMS[form]),
        "candidates": CANDIDATES,
        "nodes": 2,
        **changes,
    }
    return SearchOptions(**given)


def searched(out: Path, given: SearchOptions, **how: Any) -> SearchResult:
    return search(open_dataset(DATA), given, out, device="cpu", quiet=True, **how)


def lines(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


@pytest.mark.parametrize("form", FORMS)
def test_an_interrupted_search_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    searched(straight, options(form))
    steps = []

    def advance(self: Monitor) -> None:
        steps.append(1)
        if len(steps) == 3:  # in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Monitor, "advance", advance)
    with pytest.raises(KeyboardInterrupt, match="--resume goes on"):
        searched(resumed, options(form))
    searched(resumed, options(form), resume=True)
    assert len(steps) == 4
    a, b = (safetensors.torch.load_file(f / "supernet.safetensors") for f in (straight, resumed))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert lines(straight) == lines(resumed)
    same = [(folder / "genotype.json").read_bytes() for folder in (straight, resumed)]
    assert same[0] == same[1]
    _check_records(straight, form)


def _check_records(folder: Path, form: str) -> None:
    first, last = lines(folder)
    learns = FORMS[form].get("name") != "random"
    assert first["architecture_loss"] is None
    assert (last["architecture_loss"] is not None) == learns
    assert (first["logits"] != last["logits"]) == learns
    assert last["validation"] is not None
    if form == "single":
        assert last["architecture_loss"] == last["weight_loss"]


@pytest.mark.parametrize("probabilities", ["softmax", "clamp"])
def test_the_logits_of_the_last_line_are_those_that_were_derived(
    tmp_path: Path, probabilities: Any
) -> None:
    given = options(method=MethodOptions(probabilities=probabilities))
    result = searched(tmp_path / "run", given)
    logits = lines(tmp_path / "run")[-1]["logits"]
    for kind, nodes in result.distributions.items():
        for row, node in zip(logits[kind], nodes, strict=True):
            known = [node.none, *node.paths]
            p = torch.tensor(row[: len(known)], dtype=torch.float64).softmax(0)
            assert p.tolist() == pytest.approx(known, rel=1e-12)


def test_a_checkpoint_of_another_method_or_space_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def stop(self: Monitor) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Monitor, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        searched(out, options("data"))
    for other, sentence in [
        (options("darts"), "made with method data, not darts"),
        (options("clamp"), "made with probabilities softmax, not clamp"),
        (options("single"), "made with adc 0.0, not 0.1"),
        (options("data", method=MethodOptions(level="single")), "level alternating, not single"),
        (options("data", candidates=CANDIDATES[:3]), "made with candidates none,skip_connect,"),
        (options("data", nodes=3), "made with nodes 2, not 3"),
    ]:
        with pytest.raises(BadInput, match=sentence):
            searched(out, other, resume=True)


def test_a_random_genotype_needs_no_supernet(tmp_path: Path) -> None:
    result = searched(tmp_path / "run", options("random", recipe=replace(RECIPE, epochs=0)))
    assert (result.epochs, result.steps, result.metrics) == (0, 0, {})
    genotype = result.genotype
    assert genotype.network is not None
    with pytest.raises(BadInput, match=r"there is no supernet\.safetensors"):
        start_from(genotype, genotype.network, Sources(inherit=tmp_path / "run"))
    # The supernet's training changes nothing of what was drawn.
    assert searched(tmp_path / "trained", options("random")).genotype.cells == genotype.cells
    with pytest.raises(BadInput, match="--epochs 0"):
        options("data", recipe=replace(RECIPE, epochs=0))


def test_what_is_not_halved_is_whole() -> None:
    dataset = open_dataset(DATA)
    given = options()
    splits = keep_whole(dataset, given.network, RECIPE, seed=0)
    assert splits.architecture is None
    assert len(splits.weights.split) == len(dataset.splits["train"])
    with pytest.raises(BadInput, match=r"fewer than a batch of 100000; give a --batch-size"):
        keep_whole(dataset, given.network, replace(RECIPE, batch_size=100_000), seed=0)


# ---------------------------------------------------------------- the command

SMALL = ["--channels", "2", "--cells", "3", "--crop", "8", "--batch-size", "128", "--epochs", "1"]
SPACE = ["--candidates", "none,skip_connect,sep_conv_3x3", "--nodes", "3"]
DRAWS = {"data": 4, "darts": None, "snas": None, "gdas": 1, "random": 4}


@pytest.mark.parametrize("name", METHODS)
def test_the_command_searches_by_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["search", "--data", DATA, "--device", "cpu", "--method", name, *SMALL, *SPACE]
    assert run(given) == ExitCode.PASS
    result = read_json(Path("run/search_result.json"), SearchResult)
    assert (result.method, result.draws) == (name, DRAWS[name])
    assert result.space.candidates == ("none", "skip_connect", "sep_conv_3x3")
    assert result.space.nodes == 3
    assert result.granularity == ("node" if name in ("data", "random") else "edge")
    genotype = read_genotype("genotype.json")
    assert genotype.provenance is not None
    assert (genotype.provenance.method, genotype.provenance.draws) == (name, DRAWS[name])
    assert {len(cell.nodes) for cell in genotype.cells.values()} == {3}
    for distributions in result.distributions.values():
        for distribution in distributions:
            assert (distribution.chosen_probability is None) == (name != "data")
    assert genotype.network is not None
    start = start_from(genotype, genotype.network, Sources(inherit=Path("run")))
    assert start.weights
    assert run(["report", "run"]) == ExitCode.PASS
    assert run(["show", "genotype.json"]) == ExitCode.PASS


def test_the_command_matches_a_genotype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = ["search", "--data", DATA, "--method", "random", "--device", "cpu", *SMALL[:-1], "0"]
    assert run([*random, "--seed", "3", "--out", "first"]) == ExitCode.PASS
    Path("genotype.json").rename("wanted.json")
    matched = ["--match-macs", "wanted.json", "--match-tolerance", "0.05"]
    assert run([*random, *matched, "--seed", "4"]) == ExitCode.PASS
    assert not Path("run/supernet.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--method", "darts", "-M", "4"], "-M: --method darts"),
        (["--method", "gdas", "--granularity", "node"], "--granularity node"),
        (["--method", "dart"], "--method"),
        (["--candidates", "none,skip_conect"], 'Did you mean "skip_connect"?'),
        (["--candidates", "none"], "name one besides none"),
        (["--epochs", "0"], "--epochs 0"),
        (["--method", "random", "--match-macs", "nothing.json"], "nothing.json"),
    ],
)
def test_a_refused_command_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["search", "--device", "cpu", *arguments]) == ExitCode.BAD_INPUT
    assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
