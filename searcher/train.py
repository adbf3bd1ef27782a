"""The training of a child: a genotype, a network and a data set in, weights out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compiler.lower import AUXILIARY, lower
from compiler.torch_module import DropPathModule, GraphModule
from datac.datasets.dataset import Dataset
from datac.datasets.preprocess import prepared_network
from datac.documents.build_folder import GENOTYPE, WEIGHTS
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.train_result import Option, Score, TrainResult
from datac.errors import BadInput
from datac.output_folder import check_replaceable, mark, prepare, write_beside
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
from searcher.child import SMALLEST_BATCH, batches_of, laid_out, optimiser_of
from searcher.device import Device, describe_device, fabric_on
from searcher.evaluate import Evaluation, evaluate, loss_for, main_output
from searcher.monitor import truncate_metrics
from searcher.outcome import versions
from searcher.start import Start, start_from
from searcher.train_monitor import TrainMonitor, TrainRecord
from searcher.train_recipes import Recipe, RecipeName
from searcher.weights_file import write_weights_file

if TYPE_CHECKING:
    from lightning.fabric import Fabric

SCHEMA = "datac.train_checkpoint/1"
LAST = "last.safetensors"
RESULT = "train_result.json"


@dataclass(frozen=True)
class TrainOptions:
    """What to train, and how.

    network: the child's; samples have the size of its input. inherit: the folder of a search.
    backbone: the folder of another child. given: the command's options, for the record only.
    """

    network: Network
    recipe: Recipe
    recipe_name: RecipeName = "default"
    seed: int = 0
    inherit: Path | None = None
    backbone: Path | None = None
    given: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.recipe.batch_size < SMALLEST_BATCH:
            raise BadInput(
                f"--batch-size {self.recipe.batch_size}: a training needs {SMALLEST_BATCH} or "
                "more, since it normalises by the statistics of the batch"
            )
        if self.network.input[0] != 3:
            raise BadInput(
                f"--input with {self.network.input[0]} channels: the images of a data set have 3"
            )


def train(
    genotype: Genotype,
    dataset: Dataset,
    options: TrainOptions,
    out: Path,
    *,
    device: Device = "auto",
    resume: bool = False,
    restart: bool = False,
    quiet: bool = False,
) -> TrainResult:
    """Train, and write genotype, weights, result, metrics and checkpoint into the folder `out`.

    Ctrl-C ends the step, saves, and raises a KeyboardInterrupt that says how to go on. Raises
    BadInput and PlatformMissing before anything is written.
    """
    check_replaceable(out, "child")
    if options.backbone is not None and options.backbone.resolve() == out.resolve():
        raise BadInput(f"--backbone {out} is also the folder to write; give another --out")
    fabric = fabric_on(device, options.recipe.precision)
    network = prepared_network(options.network, dataset)
    start = start_from(genotype, network, options.inherit, options.backbone)
    run = _Run(genotype, dataset, network, options, start, fabric, out)
    if prepare(out, "child", resume=resume, restart=restart):
        content = load_checkpoint(out / CHECKPOINT, SCHEMA)
        check_same_options(content["options"], run.identity(), out / CHECKPOINT)
        run.restore(content)
    else:
        run.save()
    write_beside(out / GENOTYPE, run.genotype.to_json())
    truncate_metrics(out, run.epoch)
    with run.monitor(quiet=quiet) as monitor:
        monitor.say(run.introduction(device))
        run.optimise(monitor)
    return run.finish()


@dataclass
class _Tally:
    """What an epoch adds up; it is in the checkpoint, since an epoch may be interrupted."""

    loss: float = 0.0
    seconds: float = 0.0


class _Run:
    """One training on its way."""

    def __init__(
        self,
        genotype: Genotype,
        dataset: Dataset,
        network: Network,
        options: TrainOptions,
        start: Start,
        fabric: Fabric,
        out: Path,
    ) -> None:
        self.genotype = genotype.model_copy(update={"network": network})
        self.dataset, self.network, self.out = dataset, network, out
        self.options, self.recipe, self.start, self.fabric = options, options.recipe, start, fabric
        self.batches = batches_of(dataset, network, self.recipe, options.seed, training=True)
        self.validation = batches_of(dataset, network, self.recipe, options.seed, training=False)
        self.names = tuple(lower(genotype, network).weight_specs())
        torch.manual_seed(options.seed)
        child = laid_out(GraphModule(lower(genotype, network, training=True)), network)
        start.apply(child)
        self.module, self.optimiser = fabric.setup(child, optimiser_of(child, self.recipe))
        self.loss = loss_for(network.task, label_smoothing=self.recipe.label_smoothing)
        self.drops = [each for each in child.modules() if isinstance(each, DropPathModule)]
        self.step, self.epoch, self.seconds, self.tally = 0, 0, 0.0, _Tally()
        self.best: Score | None = None
        self.last: Score | None = None

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.recipe.epochs * len(self.batches)

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one."""
        recipe = {key: str(value) for key, value in asdict(self.recipe).items() if key != "source"}
        return {
            "genotype": self.genotype.hash,
            "data set": self.dataset.name,
            "data digest": self.dataset.digest,
            "seed": self.options.seed,
            "network": self.network.model_dump_json(),
            "start": f"{self.start.kind} {self.start.digest}",
            **{f"recipe {key}": value for key, value in recipe.items()},
        }

    def introduction(self, device: Device) -> str:
        """What is about to happen, and where."""
        chosen = describe_device(self.fabric.device)
        where = f"{chosen}, chosen by --device auto" if device == "auto" else chosen
        begun = f"going on after step {self.step}, " if self.step else ""
        source = "scratch" if self.start.source is None else str(self.start.source)
        return (
            f"{begun}training on {self.dataset.name} from {source}: {self.recipe.epochs} epochs of "
            f"{len(self.batches)} steps, batches of {self.recipe.batch_size}, on {where}"
        )

    def monitor(self, *, quiet: bool) -> TrainMonitor:
        """The monitor of what is left."""
        return TrainMonitor(
            self.out, epochs=self.recipe.epochs, steps=self.steps, done=self.step, quiet=quiet
        )

    # ---- the optimisation ----------------------------------------------------------------

    def optimise(self, monitor: TrainMonitor) -> None:
        """All epochs that are left, each with its line and its checkpoint."""
        while self.epoch < self.recipe.epochs:
            with interruption() as interrupted:
                self.module.train()
                for batch in self._left_of_the_epoch():
                    self._step(batch)
                    monitor.advance()
                    if interrupted.asked:
                        self.save()
                        raise KeyboardInterrupt(self._how_to_go_on())
                monitor.trained(self._finish_epoch())
                self.save()
                if interrupted.asked and self.epoch < self.recipe.epochs:
                    raise KeyboardInterrupt(self._how_to_go_on())

    def _left_of_the_epoch(self) -> Iterator[Batch]:
        """Batches that were not done before an interruption."""
        done = self.step - self.epoch * len(self.batches)
        return islice(self.batches.epoch(self.epoch), done, None)

    def _step(self, batch: Batch) -> None:
        begun = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(self.step, self.steps)
        for drop in self.drops:
            drop.rate = self.recipe.drop_path_at(self.epoch)
        batch = Batch(self.fabric.to_device(batch.images), self.fabric.to_device(batch.labels))
        loss = self._loss(self.module(batch.images), batch.labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise BadInput(self._diverged())
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(
            self.module,
            self.optimiser,
            max_norm=self.recipe.clip_norm,
            error_if_nonfinite=False,
        )
        self.optimiser.step()
        self.step += 1
        self.tally.loss += value
        self.tally.seconds += time.monotonic() - begun

    def _loss(self, outputs: Tensor | dict[str, Tensor], labels: Tensor) -> Tensor:
        loss = self.loss(main_output(outputs), labels)
        if isinstance(outputs, dict) and self.recipe.auxiliary:
            loss = loss + self.recipe.auxiliary * self.loss(outputs[AUXILIARY], labels)
        return loss

    def _finish_epoch(self) -> TrainRecord:
        begun = time.monotonic()
        found = evaluate(self.module, self.validation, self.network.classes, self.network.task)
        self.epoch += 1
        self.last = _score(found, self.epoch, self.network)
        # A NaN (nothing counted) never beats what is there.
        improved = self.best is None or self.last.rank > self.best.rank
        if improved:
            self.best = self.last
            write_weights_file(self.out / WEIGHTS, self._weights())
        self.tally.seconds += time.monotonic() - begun
        self.seconds += self.tally.seconds
        record = TrainRecord(
            step=self.step,
            seconds=self.tally.seconds,
            loss=self.tally.loss / len(self.batches),
            rate=self.recipe.rate_at(self.step - 1, self.steps),
            score=self.last,
            best=improved,
        )
        self.tally = _Tally()
        return record

    def _diverged(self) -> str:
        return (
            f"the loss is no longer finite at step {self.step + 1}, in epoch {self.epoch + 1}; "
            f"{self.out / CHECKPOINT} holds the state after epoch {self.epoch}; --restart with a "
            f"--learning-rate below {self.recipe.learning_rate:g}"
        )

    def _how_to_go_on(self) -> str:
        return (
            f"interrupted after step {self.step} of {self.steps}, which is saved in {self.out}; "
            "the same command with --resume goes on"
        )

    # ---- saving --------------------------------------------------------------------------

    def _weights(self) -> dict[str, Tensor]:
        """Those of the child: the auxiliary head stays behind."""
        state = self.module.state_dict()
        return {name: state[name] for name in self.names}

    def save(self) -> None:
        """The checkpoint, whole or not at all."""
        content = {
            "schema": SCHEMA,
            "options": self.identity(),
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "tally": asdict(self.tally),
            "best": None if self.best is None else self.best.model_dump(),
            "last": None if self.last is None else self.last.model_dump(),
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": random_state(),
        }
        save_checkpoint(self.out / CHECKPOINT, content)

    def restore(self, content: Mapping[str, Any]) -> None:
        """What `save` wrote."""
        self.epoch, self.step, self.seconds = (content[x] for x in ("epoch", "step", "seconds"))
        self.tally = _Tally(**content["tally"])
        self.best, self.last = (
            None if content[x] is None else Score(**content[x]) for x in ("best", "last")
        )
        self.module.load_state_dict(content["module"])
        self.optimiser.load_state_dict(content["optimiser"])
        restore_random_state(content["random"])

    def finish(self) -> TrainResult:
        """The last weights and the result; the checkpoint has served its purpose."""
        write_weights_file(self.out / LAST, self._weights())
        result = self._result()
        write_beside(self.out / RESULT, result.to_json())
        mark(self.out, "child", finished=True)
        with suppress(OSError):
            (self.out / CHECKPOINT).unlink()
        return result

    def _result(self) -> TrainResult:
        if self.best is None or self.last is None:
            raise ValueError("a training has one epoch or more")
        start = self.start
        fresh = () if start.kind == "scratch" else set(self.names) - start.weights.keys()
        return TrainResult(
            genotype_hash=self.genotype.hash,
            metric="miou" if self.network.task == "segmentation" else "accuracy",
            best=self.best,
            last=self.last,
            start=start.kind,
            start_from=None if start.source is None else str(start.source),
            fresh=tuple(name for name in self.names if name in fresh),
            dropped=start.dropped,
            recipe=self.options.recipe_name,
            options={**self.recipe.as_options(), **self.options.given},
            epochs=self.epoch,
            steps=self.step,
            seconds=self.seconds,
            seed=self.options.seed,
            dataset=self.dataset.name,
            dataset_digest=self.dataset.digest,
            device=describe_device(self.fabric.device),
            versions=versions(),
        )


def _score(found: Evaluation, epoch: int, network: Network) -> Score:
    names = network.class_info.names if network.class_info else tuple(map(str, range(10**3)))
    return Score(
        epoch=epoch,
        loss=found.loss,
        accuracy=found.accuracy,
        miou=found.miou,
        per_class_iou={names[number]: iou for number, iou in found.per_class_iou.items()},
    )
