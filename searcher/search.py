"""The search: a data set and a network in, a genotype and the supernet's weights out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compiler.candidates import SEARCH_SPACE
from datac.datasets.dataset import Dataset
from datac.datasets.preprocess import prepared_network
from datac.documents.genotype import Aggregation, CellKind
from datac.documents.network import Network
from datac.documents.search_result import Granularity, Option, SearchResult
from datac.errors import BadInput
from datac.output_folder import check_replaceable, prepare
from searcher.alternate import Alternation, Setting
from searcher.augment import Batch
from searcher.checkpoint import (
    CHECKPOINT,
    check_same_options,
    interruption,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from searcher.device import Device, cpu_threads, describe_device, fabric_on
from searcher.evaluate import evaluate
from searcher.gumbel import Layout, probabilities
from searcher.halves import Splits, split_in_halves
from searcher.methods import METHODS
from searcher.monitor import EpochRecord, Monitor, truncate_metrics
from searcher.outcome import Outcome, write_outcome
from searcher.recipes import SearchRecipe
from searcher.supernet import FixedCode, code_of

if TYPE_CHECKING:
    from lightning.fabric import Fabric

SCHEMA = "datac.search_checkpoint/1"
METHOD = "data"
NODES = 4
"""Of a cell, as published."""
MOST_DRAWS = 64
FEWEST_CELLS = 3
"""A third and two thirds down stand the reductions; with fewer cells there is no normal one."""
SMALLEST_BATCH = 2
"""The image pooling of the segmentation head leaves one value a sample to its batch norm."""


@dataclass(frozen=True)
class SearchOptions:
    """What to search, and how.

    network: the supernet's. child: what the genotype is written for; None for the same. Where
    preprocessing is missing they get the data set's usual one, with a resize to their input.
    given: the command's options, for the record only.
    """

    network: Network
    recipe: SearchRecipe
    child: Network | None = None
    draws: int = 4
    granularity: Granularity = "node"
    aggregation: Aggregation = "sum"
    seed: int = 0
    given: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        if not 1 <= self.draws <= MOST_DRAWS:
            raise BadInput(f"-M {self.draws}: the number of draws must be 1 to {MOST_DRAWS}")
        if self.network.cells < FEWEST_CELLS:
            raise BadInput(
                f"--cells {self.network.cells}: a search needs {FEWEST_CELLS} cells or more, "
                "to have normal and reduction cells"
            )
        if self.recipe.batch_size < SMALLEST_BATCH:
            raise BadInput(
                f"--batch-size {self.recipe.batch_size}: a search needs {SMALLEST_BATCH} or more, "
                "since it normalises by the statistics of the batch"
            )
        if self.network.input[0] != 3:
            raise BadInput(
                f"--input with {self.network.input[0]} channels: the images of a data set have 3"
            )


def search(
    dataset: Dataset,
    options: SearchOptions,
    out: Path,
    *,
    device: Device = "auto",
    resume: bool = False,
    restart: bool = False,
    copy_to: Path | None = None,
    quiet: bool = False,
) -> SearchResult:
    """Search, and write genotype, result, weights, metrics and checkpoint into the folder `out`.

    `copy_to` gets a copy of the genotype. Ctrl-C ends the step, saves, and raises a
    KeyboardInterrupt that says how to go on. Raises BadInput and PlatformMissing before
    anything is written.
    """
    check_replaceable(out, "run")
    with cpu_threads(options.recipe.threads):
        run = _begun(dataset, options, out, device, resume=resume, restart=restart)
        with run.monitor(quiet=quiet) as monitor:
            monitor.say(run.introduction(device))
            run.optimise(monitor)
        return write_outcome(run.outcome(), out, copy_to)


def _begun(
    dataset: Dataset,
    options: SearchOptions,
    out: Path,
    device: Device,
    *,
    resume: bool,
    restart: bool,
) -> _Run:
    """The run at its start, or where its checkpoint stands; its folder is ready."""
    fabric = fabric_on(device, options.recipe.precision)
    splits = split_in_halves(dataset, options.network, options.recipe, options.seed)
    run = _Run(dataset, options, splits, fabric, out)
    if prepare(out, "run", resume=resume, restart=restart):
        content = load_checkpoint(out / CHECKPOINT, SCHEMA)
        check_same_options(content["options"], run.identity(), out / CHECKPOINT)
        run.restore(content)
    else:
        run.save()
    truncate_metrics(out, run.epoch)
    return run


@dataclass
class _Tally:
    """What an epoch adds up; it is in the checkpoint, since an epoch may be interrupted."""

    architecture_loss: Tensor
    weight_loss: Tensor
    selected: dict[CellKind, Tensor]
    seconds: float = 0.0


class _Run:
    """One search on its way."""

    def __init__(
        self, dataset: Dataset, options: SearchOptions, splits: Splits, fabric: Fabric, out: Path
    ) -> None:
        self.dataset, self.options, self.splits, self.out = dataset, options, splits, out
        self.recipe = options.recipe
        self.steps = self.recipe.epochs * splits.steps
        layout = Layout(SEARCH_SPACE, NODES, options.granularity)
        self.method = METHODS[METHOD](layout, options.draws, options.aggregation)
        network = prepared_network(options.network, dataset)
        self.setting = Setting(
            network,
            self.method,
            self.recipe,
            options.aggregation,
            options.seed,
            self.steps,
            min(self.recipe.warm_up, self.recipe.epochs - 1) * splits.steps,
        )
        self.alternation = Alternation(self.setting, fabric)
        self.epoch, self.seconds, self.metrics = 0, 0.0, dict[str, float]()
        self.tally = self._new_tally()

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one."""
        options, network = self.options, self.setting.network
        recipe = {key: str(value) for key, value in asdict(self.recipe).items()}
        child = prepared_network(options.child or options.network, self.dataset)
        return {
            "method": METHOD,
            "data set": self.dataset.name,
            "data digest": self.dataset.digest,
            "seed": options.seed,
            "draws": options.draws,
            "granularity": options.granularity,
            "aggregation": options.aggregation,
            "network": network.model_dump_json(),
            "child": child.model_dump_json(),
            **{f"recipe {key}": value for key, value in recipe.items()},
        }

    def introduction(self, device: Device) -> str:
        """What is about to happen, and where."""
        chosen = describe_device(self.alternation.fabric.device)
        where = f"{chosen}, chosen by --device auto" if device == "auto" else chosen
        begun = f"going on after step {self.alternation.step}, " if self.alternation.step else ""
        return (
            f"{begun}searching on {self.dataset.name} ({self.dataset.task}): "
            f"{self.recipe.epochs} epochs of {self.splits.steps} steps, batches of "
            f"{self.splits.weights.batch_size}, on {where}"
        )

    def monitor(self, *, quiet: bool) -> Monitor:
        """The monitor of what is left."""
        done = self.alternation.step
        return Monitor(
            self.out, epochs=self.recipe.epochs, steps=self.steps, done=done, quiet=quiet
        )

    # ---- the optimisation ----------------------------------------------------------------

    def optimise(self, monitor: Monitor) -> None:
        """All epochs that are left, each with its line and its checkpoint."""
        while self.epoch < self.recipe.epochs:
            with interruption() as interrupted:
                for weight_batch, architecture_batch in self._batches():
                    self._step(weight_batch, architecture_batch)
                    monitor.advance()
                    if interrupted.asked:
                        self.save()
                        raise KeyboardInterrupt(self._how_to_go_on())
                record = self._finish_epoch()
                monitor.epoch(record)
                self.save()
                if interrupted.asked and self.epoch < self.recipe.epochs:
                    raise KeyboardInterrupt(self._how_to_go_on())

    def _batches(self) -> Iterator[tuple[Batch, Batch]]:
        """Those of this epoch that were not done before an interruption."""
        done = self.alternation.step - self.epoch * self.splits.steps
        pairs = zip(
            self.splits.weights.epoch(self.epoch),
            self.splits.architecture.epoch(self.epoch),
            strict=False,
        )
        return islice(pairs, done, self.splits.steps)

    def _step(self, weight_batch: Batch, architecture_batch: Batch) -> None:
        begun = time.monotonic()
        if self.alternation.step >= self.setting.warm_up:
            self.tally.architecture_loss += self.alternation.architecture_step(architecture_batch)
        loss, codes = self.alternation.weight_step(weight_batch)
        self.tally.weight_loss += loss
        for kind, code in codes.items():
            self.tally.selected[kind] += code
        self.tally.seconds += time.monotonic() - begun

    def _finish_epoch(self) -> EpochRecord:
        begun = time.monotonic()
        losses = [self.tally.architecture_loss, self.tally.weight_loss]
        architecture_loss, weight_loss = (float(loss) / self.splits.steps for loss in losses)
        if not torch.isfinite(torch.tensor([architecture_loss, weight_loss])).all():
            raise BadInput(
                f"the loss is no longer finite in epoch {self.epoch + 1}: the images or labels "
                "may be damaged, or the network too deep for its size; try another --seed"
            )
        learns = self.alternation.step > self.setting.warm_up
        derived = self.method.derive(self.alternation.logits)
        self.metrics = self._validate() if learns else {}
        self.epoch += 1
        self.tally.seconds += time.monotonic() - begun
        self.seconds += self.tally.seconds
        logits, mask = self.alternation.logits, self.method.layout.mask
        step = self.alternation.step - 1
        record = EpochRecord(
            epoch=self.epoch,
            steps=self.alternation.step,
            seconds=self.tally.seconds,
            architecture_loss=architecture_loss if learns else None,
            weight_loss=weight_loss,
            validation=self.metrics or None,
            temperature=self.setting.temperature(step),
            entropy={kind: _entropy(values, mask) for kind, values in logits.items()},
            paths={
                kind: [
                    [f"{path.operation}:{path.input}" for path in node.paths] for node in cell.nodes
                ]
                for kind, cell in derived.cells.items()
            },
            logits={kind: values.tolist() for kind, values in logits.items()},
            selected={kind: counts.tolist() for kind, counts in self.tally.selected.items()},
        )
        self.tally = self._new_tally()
        return record

    def _validate(self) -> dict[str, float]:
        """The derived code inside the supernet, on the validation split; empty if that is one."""
        if self.splits.validation is None:
            return {}
        cells = self.method.derive(self.alternation.logits).cells
        codes = {kind: code_of(cell, self.method.layout) for kind, cell in cells.items()}
        network = self.setting.network
        module = FixedCode(self.alternation.supernet, codes)
        found = evaluate(module, self.splits.validation, network.classes, network.task)
        return {found.metric_name: found.metric, "validation_loss": found.loss}

    def _new_tally(self) -> _Tally:
        device, shape = self.alternation.fabric.device, self.method.layout.shape
        selected = {kind: torch.zeros(shape, dtype=torch.int64) for kind in self.alternation.logits}
        return _Tally(torch.zeros((), device=device), torch.zeros((), device=device), selected)

    # ---- saving --------------------------------------------------------------------------

    def save(self) -> None:
        """The checkpoint, whole or not at all."""
        content = {
            "schema": SCHEMA,
            "options": self.identity(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "metrics": self.metrics,
            "tally": asdict(self.tally),
            "alternation": self.alternation.state(),
            "random": random_state(),
        }
        save_checkpoint(self.out / CHECKPOINT, content)

    def restore(self, content: Mapping[str, Any]) -> None:
        """What `save` wrote."""
        self.epoch, self.seconds = content["epoch"], content["seconds"]
        self.metrics = content["metrics"]
        self.alternation.restore(content["alternation"])
        self.tally = _Tally(**content["tally"])
        device = self.alternation.fabric.device
        self.tally.architecture_loss = self.tally.architecture_loss.to(device)
        self.tally.weight_loss = self.tally.weight_loss.to(device)
        restore_random_state(content["random"])

    def _how_to_go_on(self) -> str:
        return (
            f"interrupted after step {self.alternation.step} of {self.steps}, which is saved in "
            f"{self.out}; the same command with --resume goes on"
        )

    def outcome(self) -> Outcome:
        """All that the files are made of."""
        options = self.options
        return Outcome(
            dataset=self.dataset,
            network=prepared_network(options.child or options.network, self.dataset),
            layout=self.method.layout,
            derived=self.method.derive(self.alternation.logits),
            supernet=self.alternation.supernet.state_dict(),
            method=METHOD,
            draws=options.draws,
            seed=options.seed,
            epochs=self.epoch,
            steps=self.alternation.step,
            seconds=self.seconds,
            device=describe_device(self.alternation.fabric.device),
            metrics=self.metrics,
            given=dict(options.given),
        )


def _entropy(logits: Tensor, mask: Tensor) -> float:
    """Mean over the groups, as a share of that of a uniform distribution."""
    p = probabilities(logits.detach().double(), mask)
    entropy = torch.special.entr(p).sum(dim=-1)
    return float((entropy / mask.sum(dim=-1).double().log()).mean())
