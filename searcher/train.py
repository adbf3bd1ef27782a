"""The training of a child: a genotype, a network and a data set in, weights out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from compiler.lower import AUXILIARY, lower
from compiler.torch_module import DropPathModule, GraphModule
from datac.datasets.dataset import Dataset
from datac.datasets.preprocess import prepared_network
from datac.documents.build_folder import GENOTYPE, WEIGHTS
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.sentences import counted
from datac.documents.train_result import Option, Score, TrainResult
from datac.errors import BadInput
from datac.output_folder import check_replaceable, mark, write_beside
from searcher.augment import Batch
from searcher.checkpoint import CHECKPOINT
from searcher.child import SMALLEST_BATCH, batches_of, laid_out, optimiser_of
from searcher.device import Device, describe_device, fabric_on
from searcher.epochs import EpochRun
from searcher.evaluate import Evaluation, evaluate, loss_for, main_output
from searcher.fast_modules import fast_module
from searcher.outcome import versions
from searcher.start import Sources, Start, start_from
from searcher.train_recipes import Recipe, RecipeName
from searcher.train_record import TrainRecord
from searcher.weights_file import write_weights_file

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LAST = "last.safetensors"
RESULT = "train_result.json"


@dataclass(frozen=True)
class TrainOptions:
    """What to train, and how.

    network: the child's; samples have the size of its input. sources: what it begins with. given:
    the command's options, for the record only.
    """

    network: Network
    recipe: Recipe
    recipe_name: RecipeName = "default"
    seed: int = 0
    sources: Sources = field(default_factory=Sources)
    given: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.recipe.batch_size < SMALLEST_BATCH:
            raise BadInput(
                f"--batch-size {self.recipe.batch_size}: a training needs {SMALLEST_BATCH} or "
                "more, since it normalises by the statistics of the batch"
            )
        if self.network.input[0] != 3:
            channels = counted(self.network.input[0], "channel")
            raise BadInput(f"--input with {channels}: the images of a data set have 3")


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
    for option in ("backbone", "weights"):
        child = getattr(options.sources, option)
        if child is not None and out.resolve() in (child.resolve(), *child.resolve().parents):
            raise BadInput(
                f"--{option} {child} is also the folder to write, or in it; give another --out"
            )
    fabric = fabric_on(device, options.recipe.precision)
    network = prepared_network(options.network, dataset)
    start = start_from(genotype, network, options.sources)
    run = _Training(genotype, dataset, network, options, start, fabric, out)
    run.begin(resume=resume, restart=restart)
    write_beside(out / GENOTYPE, run.genotype.to_json())
    run.optimise(device, quiet=quiet)
    return run.finish()


@dataclass
class _Tally:
    """What an epoch adds up; it is in the checkpoint, since an epoch may be interrupted."""

    loss: Tensor
    seconds: float = 0.0


class ModuleTraining(EpochRun[Batch]):
    """The training of any module by a recipe.

    In training mode the module may answer {"logits", "auxiliary"}, each (N, classes, ...), else the
    logits alone. best, last: what was scored on the split `val`.
    """

    kind, schema, doing = "child", "datac.train_checkpoint/1", "training"

    def __init__(
        self,
        make: Callable[[], nn.Module],
        dataset: Dataset,
        network: Network,
        recipe: Recipe,
        seed: int,
        fabric: Fabric,
        out: Path,
    ) -> None:
        self.dataset, self.network, self.recipe, self.seed = dataset, network, recipe, seed
        self.training = batches_of(dataset, network, recipe, seed, training=True)
        super().__init__(fabric, out, dataset.name, recipe, len(self.training))
        self.validation = batches_of(dataset, network, recipe, seed, training=False)
        torch.manual_seed(seed)
        module = laid_out(make(), network)
        self.module, self.optimiser = fabric.setup(module, optimiser_of(module, recipe))
        self.loss = loss_for(label_smoothing=recipe.label_smoothing)
        self.drops = [each for each in module.modules() if isinstance(each, DropPathModule)]
        self.tally = self._new_tally()
        self.best: Score | None = None
        self.last: Score | None = None

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one."""
        recipe = {key: str(value) for key, value in asdict(self.recipe).items() if key != "source"}
        return {
            "data set": self.dataset.name,
            "data digest": self.dataset.digest,
            "seed": self.seed,
            "network": self.network.model_dump_json(),
            **{f"recipe {key}": value for key, value in recipe.items()},
        }

    # ---- the optimisation ----------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """Those of the epoch that stands at `self.epoch`, from its beginning."""
        return self.training.epoch(self.epoch)

    def take(self, batch: Batch) -> None:
        """One step of the optimiser."""
        begun = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(self.step, self.steps)
        for drop in self.drops:
            drop.rate = self.recipe.drop_path_at(self.epoch)
        batch = Batch(self.fabric.to_device(batch.images), self.fabric.to_device(batch.labels))
        loss = self._loss(self.module(batch.images), batch.labels)
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.module,
            self.optimiser,
            max_norm=self.recipe.clip_norm,
            error_if_nonfinite=False,
        )
        self.watch.look(self.step, "weights", loss, cast("Tensor", norm))
        self.optimiser.step()
        self.tally.loss += loss.detach()
        self.tally.seconds += time.monotonic() - begun

    def images(self, batches: Batch) -> list[Tensor]:
        """Of the one batch."""
        return [batches.images]

    def learners(self) -> dict[str, Tensor]:
        """The weights of the module."""
        return dict(self.module.module.named_parameters())

    def _loss(self, outputs: Tensor | dict[str, Tensor], labels: Tensor) -> Tensor:
        loss = self.loss(main_output(outputs), labels)
        if isinstance(outputs, dict) and self.recipe.auxiliary:
            loss = loss + self.recipe.auxiliary * self.loss(outputs[AUXILIARY], labels)
        return loss

    def end_epoch(self) -> TrainRecord:
        """Validate, keep the best weights, and begin a new tally."""
        begun = time.monotonic()
        found = evaluate(self.module, self.validation, self.network.classes, self.network.task)
        self.epoch += 1
        self.last = _score(found, self.epoch, self.network)
        # A NaN (nothing counted) never beats what is there.
        improved = self.best is None or self.last.rank > self.best.rank
        if improved:
            self.best = self.last
            write_weights_file(self.out / WEIGHTS, self.weights())
        self.tally.seconds += time.monotonic() - begun
        self.seconds += self.tally.seconds
        record = TrainRecord(
            step=self.step,
            seconds=self.tally.seconds,
            loss=float(self.tally.loss) / len(self.training),
            rate=self.recipe.rate_at(self.step - 1, self.steps),
            score=self.last,
            best=improved,
        )
        self.tally = self._new_tally()
        return record

    def _new_tally(self) -> _Tally:
        # In float64, as precise as a sum on the host, which would wait for every step.
        return _Tally(torch.zeros((), dtype=torch.float64, device=self.fabric.device))

    # ---- saving --------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """What is kept of the module."""
        return dict(self.module.state_dict())

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "tally": asdict(self.tally),
            "best": None if self.best is None else self.best.model_dump(),
            "last": None if self.last is None else self.last.model_dump(),
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.tally = self._new_tally()
        self.tally.loss += state["tally"]["loss"]
        self.tally.seconds = state["tally"]["seconds"]
        self.best, self.last = (
            None if state[x] is None else Score(**state[x]) for x in ("best", "last")
        )
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])


class _Training(ModuleTraining):
    """The training of a child on its way."""

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
        self.options, self.start = options, start
        self.genotype = genotype.model_copy(update={"network": network})
        self.names = tuple(lower(genotype, network).weight_specs())
        super().__init__(self._child, dataset, network, options.recipe, options.seed, fabric, out)

    def _child(self) -> nn.Module:
        child = GraphModule(lower(self.genotype, self.network, training=True), fast_module)
        self.start.apply(child)
        return child

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one."""
        start = f"{self.start.kind} {self.start.digest}"
        return {"genotype": self.genotype.hash, **super().identity(), "start": start}

    def describe(self) -> str:
        """What it does, for the first line."""
        source = "scratch" if self.start.source is None else str(self.start.source)
        return (
            f"training on {self.data} from {source}: {counted(self.epochs, 'epoch')} of "
            f"{counted(len(self.training), 'step')}, batches of {self.recipe.batch_size}"
        )

    def weights(self) -> dict[str, Tensor]:
        """Those of the child: the auxiliary head stays behind."""
        state = super().weights()
        return {name: state[name] for name in self.names}

    def finish(self) -> TrainResult:
        """The last weights and the result; the checkpoint has served its purpose."""
        write_weights_file(self.out / LAST, self.weights())
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
