"""A search under bounds, on images of a few pixels: bounds held, resumption, refusals."""

import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from compiler.candidates import SEARCH_SPACE
from compiler.lower import lower
from compiler.path_places import path_places
from datac.cli import run
from datac.datasets import open_dataset
from datac.datasets.dataset import Sample
from datac.documents.genotype import Genotype
from datac.documents.latency_table import LatencyEntry, LatencyRemainder, LatencyTable, Machine
from datac.documents.network import Classes, Network
from datac.documents.read import read_json
from datac.documents.search_result import SearchResult
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput
from datac.exit_codes import ExitCode
from exporters.default_plan import DEFAULTS
from exporters.environment import environment
from searcher.bounds import Limits
from searcher.method_options import MethodOptions
from searcher.monitor import Monitor
from searcher.path_costs import counted_costs
from searcher.recipes import SearchRecipe, Sizes
from searcher.search import SearchOptions, search

RECIPE = SearchRecipe(
    supernet=Sizes(2, 3),
    size=(8, 8),
    batch_size=4,
    epochs=3,
    warm_up=1,
    architecture_rate=0.3,
    threads=1,
)
NETWORK = Network(skeleton="cifar", channels=2, cells=3, classes=2, input=(3, 8, 8))
CHILD = NETWORK.model_copy(update={"channels": 6, "cells": 5})
SPACE = SearchSpace(candidates=SEARCH_SPACE)


class Noise:
    """A few images of noise in two classes."""

    name, task, digest = "noise", "classification", "0" * 64
    classes = Classes(names=("heads", "tails"))

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        images = random.integers(0, 255, (22, 8, 8, 3), dtype=np.uint8)
        samples = [Sample(str(i), image, i % 2) for i, image in enumerate(images)]
        self.splits = {"train": samples[:17], "val": samples[17:]}


def options(limits: Limits, **changes: Any) -> SearchOptions:
    return replace(SearchOptions(NETWORK, RECIPE, CHILD, limits=limits), **changes)


def searched(out: Path, given: SearchOptions, **how: Any) -> SearchResult:
    return search(Noise(), given, out, device="cpu", quiet=True, **how)


def lines(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def room(quantity: Any, share: float) -> int:
    """A bound with room for so much of what four of the dearest paths cost."""
    costs = counted_costs(options(Limits()).child, SPACE, quantity)
    largest = costs.rest + 4 * sum(max(paths.values()) for paths in costs.paths.values())
    return int(costs.rest + share * (largest - costs.rest))


@pytest.mark.parametrize(
    ("share", "granularity"), [(0.0, "node"), (0.05, "node"), (0.4, "node"), (0.05, "edge")]
)
def test_the_child_meets_its_bounds(tmp_path: Path, share: float, granularity: Any) -> None:
    """Counted by the compiler, of the child's network, which is not the searched one."""
    limits = Limits(max_params=room("parameters", share), max_macs=room("multiply_adds", share))
    result = searched(
        tmp_path / "run", options(limits, method=MethodOptions(granularity=granularity))
    )
    network = result.genotype.network
    assert network is not None
    assert network.channels == CHILD.channels
    cost = lower(result.genotype, network, keep_unread=True).cost()
    assert cost.parameters <= limits.max_params
    assert cost.multiply_adds <= limits.max_macs
    parameters, multiply_adds = result.bounds
    assert (parameters.child, multiply_adds.child) == (cost.parameters, cost.multiply_adds)
    assert (parameters.bound, parameters.excess) == (limits.max_params, 0)
    assert parameters.unbounded >= 0
    for record in lines(tmp_path / "run"):
        tracked = record["cost"]["multiply_adds"]
        assert tracked["bound"] == limits.max_macs
        assert tracked["child"] <= limits.max_macs
    assert lines(tmp_path / "run")[0]["multiplier"] == {"parameters": 0.0, "multiply_adds": 0.0}
    last = lines(tmp_path / "run")[-1]
    assert last["multiplier"]["parameters"] == parameters.multiplier
    assert last["cost"]["parameters"]["expected"] == parameters.expected


@pytest.mark.parametrize(
    "method", [MethodOptions(probabilities="clamp"), MethodOptions(level="single")]
)
def test_other_ways_to_search_are_bounded_too(tmp_path: Path, method: MethodOptions) -> None:
    limits = Limits(max_params=room("parameters", 0.05), max_macs=room("multiply_adds", 0.05))
    bounds = searched(tmp_path / "run", options(limits, method=method)).bounds
    assert [found.quantity for found in bounds] == ["parameters", "multiply_adds"]
    for found in bounds:
        assert found.child <= found.bound
        assert found.multiplier > 0


def test_a_method_whose_mean_cost_is_not_known_is_not_bounded() -> None:
    with pytest.raises(BadInput, match="--method darts knows no bound on what a child costs"):
        options(Limits(max_macs=10**9), method=MethodOptions("darts"))


def test_a_bound_leads_the_draws_down_and_a_slack_one_changes_nothing(tmp_path: Path) -> None:
    searched(tmp_path / "free", options(Limits()))
    searched(tmp_path / "slack", options(Limits(max_params=10**9)))
    searched(tmp_path / "tight", options(Limits(max_params=room("parameters", 0.05))))
    free, slack, tight = (lines(tmp_path / name) for name in ("free", "slack", "tight"))
    assert free[-1]["logits"] == slack[-1]["logits"]
    assert (free[-1]["cost"], free[-1]["multiplier"]) == ({}, {})
    costs = [record["cost"]["parameters"]["expected"] for record in tight]
    assert costs[-1] < slack[-1]["cost"]["parameters"]["expected"]
    assert costs[0] > costs[1] > costs[2]
    assert tight[-1]["multiplier"]["parameters"] > 0


@pytest.mark.parametrize("at", [3, 4])
def test_it_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    given = options(Limits(max_params=room("parameters", 0.1), max_macs=room("multiply_adds", 0.1)))
    searched(tmp_path / "straight", given)
    steps = []

    def advance(self: Monitor) -> None:
        steps.append(1)
        if len(steps) == at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Monitor, "advance", advance)
    with pytest.raises(KeyboardInterrupt, match=f"after step {at} of 6"):
        searched(tmp_path / "run", given)
    other = options(Limits(max_params=room("parameters", 0.2), max_macs=given.limits.max_macs))
    with pytest.raises(BadInput, match=r"made with --max-params \d+, not \d+; give the options"):
        searched(tmp_path / "run", other, resume=True)
    with pytest.raises(BadInput, match=r"made with --max-params \d+, not without it"):
        searched(tmp_path / "run", options(Limits()), resume=True)
    resumed = searched(tmp_path / "run", given, resume=True)
    first, second = tmp_path / "straight", tmp_path / "run"
    a, b = (safetensors.torch.load_file(f / "supernet.safetensors") for f in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert lines(first) == lines(second)
    assert read_json(first / "search_result.json", SearchResult).bounds == resumed.bounds


# ---------------------------------------------------------------- the command

SMALL = ["--task", "classification", "--channels", "2", "--cells", "3", "--crop", "8"]
SHORT = ["--batch-size", "64", "--epochs", "1", "--device", "cpu"]


def write_table(path: Path, network: Network, **changes: Any) -> LatencyTable:
    """A path takes a tenth of a millisecond, but for skips and pools, and the rest takes one."""
    entries = {}
    for place in path_places(network, SPACE)[0]:
        entry = LatencyEntry(
            target="onnx",
            operation=place.operation,
            shape=(1, *place.shape),
            stride=place.stride,
            dilation=place.dilation,
            unstrided=place.unstrided,
            dtype="f32",
            n=5,
            median_ms=0.1 if "conv" in place.operation else 0.01,
            interval_ms=(0, 1),
        )
        entries[entry.key] = entry
    content: dict[str, Any] = {
        "machine": Machine(device=environment().processor, platform="linux"),
        "runtimes": {"onnx": {"name": "onnxruntime", "version": version("onnxruntime")}},
        "rewrites": {"onnx": DEFAULTS["onnx", "f32"]},
        "measured": datetime(2026, 1, 1, tzinfo=UTC),
        "expires": datetime(2100, 1, 1, tzinfo=UTC),
        "entries": tuple(entries.values()),
        "remainders": (
            LatencyRemainder(target="onnx", dtype="f32", network=network, n=8, remainder_ms=1.0),
        ),
    }
    table = LatencyTable(**{**content, **changes})
    path.write_text(table.to_json())
    return table


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network_of(classes: int) -> Network:
    return NETWORK.model_copy(update={"classes": classes})


def test_the_command_holds_a_latency_of_a_table(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = len(open_dataset("shapes-classification").classes.names)
    write_table(here / "table.json", network_of(classes))
    bound = ["--max-latency-ms", "1.5", "--table", "table.json", "--max-macs", "1000000"]
    assert run(["search", *SMALL, *SHORT, *bound]) == ExitCode.PASS
    said = capsys.readouterr().out
    assert " ms: meets the bound of 1.500" in said
    assert " multiply-adds: meets the bound of 1,000,000" in said
    result = read_json(here / "run" / "search_result.json", SearchResult)
    assert result.options["table"] == "table.json"
    macs, latency = result.bounds
    assert (macs.quantity, latency.quantity) == ("multiply_adds", "latency_ms")
    genotype = read_json(here / "genotype.json", Genotype)
    kinds = {"normal": 1, "reduction": 2}  # cells of each
    expected = 1.0 + sum(
        kinds[kind] * (0.1 if "conv" in path.operation else 0.01)
        for kind, cell in genotype.cells.items()
        for node in cell.nodes
        for path in node.paths
    )
    assert latency.child == pytest.approx(expected)
    assert latency.child <= 1.5


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--max-params", "0"], "--max-params 0: a bound is a number above 0"),
        (["--max-macs", "-1"], "--max-macs -1"),
        (["--max-latency-ms", "nan", "--table", "TABLE"], "--max-latency-ms nan"),
        (["--max-params", "10"], "the smallest possible child of this network has"),
        (["--max-macs", "10"], "the smallest possible child of this network has"),
        (["--max-latency-ms", "1", "--table", "TABLE"], "the smallest possible child"),
        (["--max-latency-ms", "5"], "--max-latency-ms needs --table FILE"),
        (["--table", "TABLE"], "--table does nothing without --max-latency-ms"),
        (["--max-latency-ms", "5", "--table", "nowhere.json"], "there is no such file"),
        (
            ["--max-latency-ms", "5", "--table", "OLD"],
            "expired on 2026-02-01; renew it",
        ),
        (
            ["--max-latency-ms", "5", "--table", "ELSE"],
            "it is of another machine (a p",
        ),
        (
            ["--max-latency-ms", "5", "--table", "NEWER"],
            "its onnx is onnxruntime 99.0",
        ),
        (["--max-latency-ms", "5", "--table", "OTHER"], "are not rewritten as datac rewrites"),
        (["--max-latency-ms", "5", "--table", "EMPTY"], "--table has no entry for max_pool_3x3"),
        (
            ["--max-latency-ms", "5", "--table", "TABLE", "--cells", "4"],
            "of another network than the child's (cells 3, not 4)",
        ),
    ],
)
def test_a_refused_bound_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    network = network_of(len(open_dataset("shapes-classification").classes.names))
    tables = here / "tables"
    tables.mkdir()
    write_table(tables / "TABLE", network)
    write_table(tables / "OLD", network, expires=datetime(2026, 2, 1, tzinfo=UTC))
    write_table(tables / "EMPTY", network, entries=())
    write_table(tables / "ELSE", network, machine=Machine(device="a processor", platform="linux"))
    write_table(tables / "OTHER", network, rewrites={"onnx": ("pad_channels",)})
    newer = {"onnx": {"name": "onnxruntime", "version": "99.0"}}
    write_table(tables / "NEWER", network, runtimes=newer)
    there = {path.name for path in tables.iterdir()}
    given = [str(tables / a) if a in there else a for a in arguments]
    assert run(["search", *SMALL, *SHORT, *given]) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1
    assert list(here.iterdir()) == [tables]
