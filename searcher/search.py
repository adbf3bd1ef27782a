"""The search: a data set and a network in, a genotype and the supernet's weights out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compiler.candidates import SEARCH_SPACE
from datac.datasets.dataset import Dataset
from datac.datasets.preprocess import prepared_network
from datac.documents.gap import Gap
from datac.documents.genotype import Aggregation, CellKind
from datac.documents.network import Network
from datac.documents.search_result import Option, SearchResult
from datac.documents.search_space import SearchSpace
from datac.documents.sentences import counted
from datac.errors import BadInput
from datac.output_folder import check_replaceable
from datac.torchrun import own_place
from searcher.alternate import Alternation, Setting
from searcher.augment import Batch
from searcher.bounds import Limits
from searcher.child import SMALLEST_BATCH
from searcher.constraint import Constraint
from searcher.derive import Derived
from searcher.derive_within import derive_within
from searcher.device import Device, cpu_threads, describe_device, fabric_on
from searcher.epochs import EpochRun
from searcher.evaluate import evaluate
from searcher.gap import SearchEnd, measure_gap
from searcher.gumbel import entropy
from searcher.halves import Splits, keep_whole, share_of_batches, split_in_halves
from searcher.memory import step_bytes
from searcher.method_options import MethodOptions
from searcher.methods import METHODS, Method
from searcher.outcome import Outcome, write_outcome
from searcher.processes import launched
from searcher.recipes import SearchRecipe
from searcher.search_record import SearchRecord
from searcher.supernet import FixedCode, code_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

NODES = 4
"""Of a cell, as published."""
FEWEST_CELLS = 3
"""A third and two thirds down stand the reductions; with fewer cells there is no normal one."""


@dataclass(frozen=True)
class SearchOptions:
    """What to search, and how.

    network: the supernet's. child: what the genotype is written for; None for the same. Where
    preprocessing is missing they get the data set's usual one, with a resize to their input.
    candidates, nodes: what a cell may be made of, and how many nodes it has.
    limits: what the child may cost. given: the command's options, for the record only.
    """

    network: Network
    recipe: SearchRecipe
    child: Network | None = None
    method: MethodOptions = field(default_factory=MethodOptions)
    candidates: tuple[str, ...] = SEARCH_SPACE
    nodes: int = NODES
    aggregation: Aggregation = "sum"
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    given: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        learns = self.make_method().learns
        if self.limits != Limits() and not METHODS[self.method.name].bounded:
            raise BadInput(
                f"--method {self.method.name} knows no bound on what a child costs; search by "
                "data, or draw by random with --match-macs"
            )
        if self.recipe.epochs < 1 and learns:
            raise BadInput(
                "--epochs 0: a genotype without a search is drawn by --method random alone"
            )
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
            channels = counted(self.network.input[0], "channel")
            raise BadInput(f"--input with {channels}: the images of a data set have 3")

    def make_method(self) -> Method:
        """The method over the space, for the child's network."""
        child = self.child or self.network
        return self.method.make(self.candidates, self.nodes, self.aggregation, child)


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

    Under torchrun all processes call it alike; each takes its share of every batch, and the first
    one writes and measures.
    """
    check_replaceable(out, "run")
    place, recipe = own_place(), options.recipe
    share = share_of_batches(recipe.batch_size, place)
    fabric = fabric_on(device, recipe.precision, place)
    with cpu_threads(recipe.threads), launched(fabric) as processes:
        divide = split_in_halves if options.method.level_chosen == "alternating" else keep_whole
        splits = processes.agreed(
            lambda: divide(dataset, options.network, recipe, options.seed, share)
        )
        run = _Search(dataset, options, splits, fabric, out)
        run.begin(resume=resume, restart=restart)
        run.optimise(device, quiet=quiet)
        found = run.outcome()
        return processes.by_first(lambda: write_outcome(found, out, copy_to)) or found.result()


@dataclass
class _Tally:
    """What an epoch adds up; it is in the checkpoint, since an epoch may be interrupted."""

    architecture_loss: Tensor
    weight_loss: Tensor
    selected: dict[CellKind, Tensor]
    seconds: float = 0.0


class _Search(EpochRun[tuple[Batch, Batch | None]]):
    """One search on its way. A step takes a batch for the weights and one for the architecture.

    The latter is None where both learn from the first, or where no architecture learns.
    """

    kind, schema, doing = "run", "datac.search_checkpoint/1", "searching"

    def __init__(
        self, dataset: Dataset, options: SearchOptions, splits: Splits, fabric: Fabric, out: Path
    ) -> None:
        self.recipe = options.recipe
        super().__init__(fabric, out, dataset.name, self.recipe, splits.steps)
        self.dataset, self.options, self.splits = dataset, options, splits
        self.method = options.make_method()
        network = prepared_network(options.network, dataset)
        self.child = prepared_network(options.child or options.network, dataset)
        self.setting = Setting(
            network,
            self.method,
            self.recipe,
            options.aggregation,
            options.seed,
            self.steps,
            min(self.recipe.warm_up, self.recipe.epochs - 1) * splits.steps
            if self.method.learns
            else self.steps,
            options.method.level_chosen,
        )
        space = SearchSpace(candidates=options.candidates, nodes=options.nodes)
        bounds = options.limits.bounds(self.child, space)
        self.constraint = Constraint(
            bounds,
            self.method.layout,
            self.method.draws or 1,
            self.setting.architecture_steps,
            self.method.scores,
        )
        self.alternation = Alternation(self.setting, fabric, self.constraint, self.watch)
        self.metrics: dict[str, float] = {}
        self.tally = self._new_tally()

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one."""
        options, network = self.options, self.setting.network
        recipe = {key: str(value) for key, value in asdict(self.recipe).items()}
        return {
            **options.method.identity(),
            "candidates": ",".join(options.candidates),
            "nodes": options.nodes,
            "data set": self.dataset.name,
            "data digest": self.dataset.digest,
            "seed": options.seed,
            "aggregation": options.aggregation,
            "network": network.model_dump_json(),
            "child": self.child.model_dump_json(),
            **options.limits.identity(),
            # Batch norms see a process's share of the batch, so the number of shares counts.
            "processes": self.processes.size,
            **{f"recipe {key}": value for key, value in recipe.items()},
        }

    def describe(self) -> str:
        """What it does, for the first line."""
        count = self.processes.size
        shared = f" shared by {count} processes" if count > 1 else ""
        length = f"{counted(self.epochs, 'epoch')} of {counted(self.splits.steps, 'step')}"
        return (
            f"searching on {self.dataset.name} ({self.dataset.task}): {length}, batches of "
            f"{self.splits.weights.batch_size}{shared}, about {self._memory() / 1e6:,.0f} MB of "
            "tensors"
        )

    def _memory(self) -> int:
        """What a step will hold in this process, in bytes."""
        share = self.splits.weights.batch_size // self.processes.size
        return step_bytes(self.alternation, self.setting.network.input, share)

    # ---- the optimisation ----------------------------------------------------------------

    def batches(self) -> Iterator[tuple[Batch, Batch | None]]:
        """Those of the epoch that stands at `self.epoch`, from its beginning."""
        half = self.splits.architecture
        for_architecture: Iterable[Batch | None] = (
            repeat(None) if half is None else half.epoch(self.epoch)
        )
        return zip(self.splits.weights.epoch(self.epoch), for_architecture, strict=False)

    def take(self, batches: tuple[Batch, Batch | None]) -> None:
        """Where the warm-up is over, an architecture step and a weight step, or one for both."""
        begun = time.monotonic()
        self.processes.vary(self.options.seed, self.step)
        for_weights, for_architecture = batches
        learns = self.step >= self.setting.warm_up
        if learns and for_architecture is None:
            loss, codes = self.alternation.joint_step(for_weights, self.step)
            self.tally.architecture_loss += loss
        else:
            if learns and for_architecture is not None:
                moved = self.alternation.architecture_step(for_architecture, self.step)
                self.tally.architecture_loss += moved
            loss, codes = self.alternation.weight_step(for_weights, self.step)
        self.tally.weight_loss += loss
        for kind, code in codes.items():
            self.tally.selected[kind] += code
        self.tally.seconds += time.monotonic() - begun

    def images(self, batches: tuple[Batch, Batch | None]) -> list[Tensor]:
        """Of the weights' batch and of the architecture's."""
        return [batch.images for batch in batches if batch is not None]

    def learners(self) -> dict[str, Tensor]:
        """The weights of the supernet, and the logits."""
        return self.alternation.learners()

    def logits(self) -> dict[str, Tensor]:
        """Those that the probabilities are made of."""
        return self.alternation.named_logits()

    def end_epoch(self) -> SearchRecord:
        """Derive, validate, and begin a new tally."""
        begun = time.monotonic()
        self.processes.check_same(self.learners().values(), f"after epoch {self.epoch + 1}")
        losses = [self.tally.architecture_loss, self.tally.weight_loss]
        architecture_loss, weight_loss = (float(loss) / self.splits.steps for loss in losses)
        learns = self.step > self.setting.warm_up
        derived = self._derive()
        # While the supernet warms up the derived code is chance; one that was drawn stands.
        if learns or not self.method.learns:
            self.metrics = self.processes.by_first(lambda: self._validate(derived)) or {}
        self.epoch += 1
        self.tally.seconds += time.monotonic() - begun
        self.seconds += self.tally.seconds
        logits = self.alternation.logits
        # In float64, as a derivation reads them.
        scores = {
            kind: self.method.scores(values.detach().double()) for kind, values in logits.items()
        }
        record = SearchRecord(
            epoch=self.epoch,
            steps=self.step,
            seconds=self.tally.seconds,
            architecture_loss=architecture_loss if learns else None,
            weight_loss=weight_loss,
            validation=self.metrics or None,
            temperature=self.setting.temperature(self.step - 1),
            entropy={
                kind: entropy(self.method.p(values.detach().double()), self.method.layout.mask)
                for kind, values in logits.items()
            },
            paths={
                kind: [
                    [f"{path.operation}:{path.input}" for path in node.paths] for node in cell.nodes
                ]
                for kind, cell in derived.cells.items()
            },
            logits={kind: values.tolist() for kind, values in scores.items()},
            selected={kind: counts.tolist() for kind, counts in self.tally.selected.items()},
            cost=self.constraint.costs(logits, derived.cells),
            multiplier=self.constraint.by_quantity(),
        )
        self.tally = self._new_tally()
        return record

    def _derive(self) -> Derived:
        """The most probable cells that meet the bounds."""
        derived = self.method.derive(self.alternation.logits)
        bounds, layout = self.constraint.bounds, self.method.layout
        return derive_within(derived, bounds, layout, self.method.draws or 1)

    def _validate(self, derived: Derived) -> dict[str, float]:
        """The derived code inside the supernet, on the validation split; empty if that is one."""
        if self.splits.validation is None:
            return {}
        layout = self.method.layout
        codes = {kind: code_of(cell, layout) for kind, cell in derived.cells.items()}
        network = self.setting.network
        module = FixedCode(self.alternation.supernet, codes)
        found = evaluate(module, self.splits.validation, network.classes, network.task)
        return {found.metric_name: found.metric, "validation_loss": found.loss}

    def _new_tally(self) -> _Tally:
        device, shape = self.fabric.device, self.method.layout.shape
        selected = {kind: torch.zeros(shape, dtype=torch.int64) for kind in self.alternation.logits}
        return _Tally(torch.zeros((), device=device), torch.zeros((), device=device), selected)

    # ---- saving --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "metrics": self.metrics,
            "tally": asdict(self.tally),
            "alternation": self.alternation.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.metrics = state["metrics"]
        self.alternation.restore(state["alternation"])
        self.tally = _Tally(**state["tally"])
        device = self.fabric.device
        self.tally.architecture_loss = self.tally.architecture_loss.to(device)
        self.tally.weight_loss = self.tally.weight_loss.to(device)

    def outcome(self) -> Outcome:
        """All that the files are made of. Ctrl-C while it measures says how to go on."""
        options, derived = self.options, self._derive()
        unbounded = self.method.derive(self.alternation.logits)
        with self.interruptible():
            gap = self.processes.by_first(lambda: self._gap(derived))
        return Outcome(
            dataset=self.dataset,
            network=self.child,
            layout=self.method.layout,
            derived=derived,
            supernet=self.alternation.supernet.state_dict() if self.steps else None,
            method=options.method.name,
            draws=self.method.draws,
            seed=options.seed,
            epochs=self.epoch,
            steps=self.step,
            seconds=self.seconds,
            device=describe_device(self.fabric.device, self.processes.size),
            metrics=self.metrics,
            bounds=self.constraint.results(self.alternation.logits, derived, unbounded, self.child),
            gap=gap,
            given=dict(options.given),
        )

    def _gap(self, derived: Derived) -> Gap | None:
        """Of the supernet and the child; None where the one is not trained or not validated."""
        if self.splits.validation is None or not self.steps:
            return None
        alternation, temperature = self.alternation, self.setting.temperature(self.steps - 1)
        end = SearchEnd(
            alternation.supernet,
            self.setting.network,
            self.method,
            alternation.logits,
            derived,
            temperature,
        )
        return measure_gap(end, self.splits.validation, self.options.seed)
