"""One run: search, retrain from scratch, measure. Whatever part is finished is not done again."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from fidelity_latency import child_model, latencies_ms, published_model
from fidelity_record import RESULT, Record, Searched, Trained, claim, settings_of
from fidelity_schedule import Name, alone_in
from fidelity_sizes import BASELINE, ROWS, SIZES, Study
from fidelity_verdict import reasons_against

from compiler.lower import lower
from datac.datasets import open_dataset
from datac.datasets.dataset import Dataset
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.read import read_json
from datac.documents.search_result import SearchResult
from datac.documents.train_result import TrainResult
from datac.output_folder import state_of, write_beside
from searcher import outcome, train
from searcher.checkpoint import CHECKPOINT
from searcher.device import Device
from searcher.method_options import MethodOptions
from searcher.search import SearchOptions, search
from searcher.train import TrainOptions

WIDEST = 512
"""No child needs more channels to reach any of the common costs."""


@dataclass(frozen=True)
class Task:
    """A run to do. source: the data set as `datac` takes it. folder: OUT/DATA/ROW/SEED."""

    name: Name
    size: str
    source: str
    folder: Path
    device: Device


def carry_out(task: Task) -> None:
    """Do what is left of a run, and write its result. Ctrl-C saves and raises."""
    with alone_in(task.folder):
        _carry_out(task)


def _carry_out(task: Task) -> None:
    torch.set_num_threads(1)
    study, row = SIZES[task.size][task.name.data], task.name.row
    settings = settings_of(study, row)
    claim(task.folder, settings)
    dataset = open_dataset(task.source)
    method = ROWS[row]
    if method is None:
        from fidelity_hand_made import train_hand_made

        searched, trained = None, train_hand_made(task, study, dataset)
    else:
        found = _search(task, study, dataset, method)
        searched = _searched(task, study, dataset, found)
        trained = _train(task, study, dataset, found.genotype)
    record = Record(
        size=task.size,
        data=task.name.data,
        row=row,
        seed=task.name.seed,
        settings=settings,
        searched=searched,
        trained=trained,
        dataset=dataset.name,
        dataset_digest=dataset.digest,
        device=_device(task.device),
        commit=_commit(),
        finished=datetime.now(UTC).date().isoformat(),
        versions=outcome.versions(),
    )
    write_beside(task.folder / RESULT, record.to_json())


# ---- the search --------------------------------------------------------------------------------


def search_options(
    study: Study, dataset: Dataset, method: MethodOptions, seed: int
) -> SearchOptions:
    """What is searched: the same for every method, but that `random` is drawn at the common cost.

    `random` trains a supernet for as many steps as the others, on random codes, so that it has a
    search-time metric and a gap, too; its genotype is drawn before, and nothing learns from that.
    """
    if method.name == BASELINE:
        method = replace(method, match_macs=study.macs, match_tolerance=0.1)
    return SearchOptions(
        network=study.supernet_on(dataset),
        child=study.child_on(dataset),
        recipe=study.search,
        method=method,
        candidates=study.candidates,
        seed=seed,
    )


def _search(task: Task, study: Study, dataset: Dataset, method: MethodOptions) -> SearchResult:
    folder = task.folder / "run"
    if state_of(folder) == ("run", True):
        return read_json(folder / outcome.RESULT, SearchResult)
    options = search_options(study, dataset, method, task.name.seed)
    return search(dataset, options, folder, device=task.device, **how_to_begin(folder))


def how_to_begin(folder: Path) -> dict[str, bool]:
    """Go on where a checkpoint is, else anew."""
    resume = (folder / CHECKPOINT).is_file() and state_of(folder) is not None
    return {"resume": resume, "restart": not resume}


def _searched(task: Task, study: Study, dataset: Dataset, found: SearchResult) -> Searched:
    method = ROWS[task.name.row]
    assert method is not None
    options = search_options(study, dataset, method, task.name.seed)
    made = options.make_method()
    reasons = reasons_against(task.folder / "run", made) if made.learns else ()
    return Searched(
        decided=not reasons if made.learns else None,
        reasons=reasons,
        genotype=found.genotype.model_copy(update={"network": None, "provenance": None}),
        gap=found.gap,
        epochs=found.epochs,
        steps=found.steps,
        seconds=found.seconds,
    )


# ---- the retraining ----------------------------------------------------------------------------


def nearest_width(genotype: Genotype, study: Study, dataset: Dataset) -> Network:
    """The child's network at the width whose multiply-adds come nearest to the common ones."""
    best, distance = study.child_on(dataset, 2), float("inf")
    for channels in range(2, WIDEST, 2):
        network = study.child_on(dataset, channels)
        off = abs(multiply_adds(genotype, network) - study.macs)
        if off > distance:
            break
        best, distance = network, off
    return best


def multiply_adds(genotype: Genotype, network: Network) -> int:
    """Of a sample."""
    return lower(genotype, network, keep_unread=True).cost().multiply_adds


def _train(task: Task, study: Study, dataset: Dataset, genotype: Genotype) -> Trained:
    folder = task.folder / "child"
    network = nearest_width(genotype, study, dataset)
    if state_of(folder) == ("child", True):
        result = read_json(folder / train.RESULT, TrainResult)
    else:
        options = TrainOptions(network=network, recipe=study.training, seed=task.name.seed)
        begin = how_to_begin(folder)
        result = train.train(genotype, dataset, options, folder, device=task.device, **begin)
    model = child_model(genotype, network, folder / train.LAST)
    own, reference = latencies_ms(model, published_model(study.child_on(dataset)), network.input)
    cost = lower(genotype, network).cost()
    return Trained(
        channels=network.channels,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        metric=result.metric,
        best=result.best,
        last=result.last,
        epochs=result.epochs,
        seconds=result.seconds,
        latency_ms=own,
        reference_ms=reference,
    )


# ---- where it was done -------------------------------------------------------------------------


def _device(device: Device) -> str:
    from searcher.device import describe_device, fabric_on

    return describe_device(fabric_on(device).device)


def _commit() -> str | None:
    """Of the checkout that this file stands in; with a + where its files differ from it."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/docs")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
