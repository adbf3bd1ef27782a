"""The road that a search and a training share: epochs of steps, saved, interrupted and resumed.

Where several processes share a search all take this road together: they stop after the same step,
and the first one alone writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from datac.errors import BadInput
from datac.output_folder import Kind, prepare
from searcher.checkpoint import (
    CHECKPOINT,
    check_same_options,
    interruption,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from searcher.device import Device, describe_device
from searcher.divergence import (
    Evidence,
    NotFiniteError,
    Watch,
    all_finite,
    cause_of,
    check_finite,
)
from searcher.monitor import Monitor, Record, Silence, truncate_metrics
from searcher.processes import Processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


Batches = TypeVar("Batches")
"""What one step takes."""


class Schedule(Protocol):
    """What the road must know of a recipe."""

    @property
    def epochs(self) -> int:
        """How many."""

    @property
    def gentler(self) -> str:
        """The option that may help where a run diverges, after "--restart with"."""


class EpochRun(ABC, Generic[Batches]):
    """One search or training on its way.

    data: the name of the data set. epoch, step: how many are done. saved: steps that the checkpoint
    has. seconds: of the epochs that are done. watch: what every step shows its loss and gradient.
    """

    kind: ClassVar[Kind]
    schema: ClassVar[str]
    doing: ClassVar[str]
    """For the progress: "searching"."""

    def __init__(
        self, fabric: Fabric, out: Path, data: str, schedule: Schedule, steps_of_an_epoch: int
    ) -> None:
        self.fabric, self.out, self.data, self.processes = fabric, out, data, Processes(fabric)
        self.schedule, self.epochs = schedule, schedule.epochs
        self.steps_of_an_epoch = steps_of_an_epoch
        self.epoch, self.step, self.saved, self.seconds = 0, 0, 0, 0.0
        self.watch = Watch(late=fabric.device.type == "cuda")
        # Where a look is late, the batch to blame is the one before.
        self._recent: deque[Batches] = deque(maxlen=2)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.epochs * self.steps_of_an_epoch

    # ---- what a run must say of itself ---------------------------------------------------

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one."""

    @abstractmethod
    def describe(self) -> str:
        """What it does, for the first line."""

    @abstractmethod
    def batches(self) -> Iterator[Batches]:
        """Those of the epoch that stands at `self.epoch`, from its beginning."""

    @abstractmethod
    def take(self, batches: Batches) -> None:
        """One step."""

    @abstractmethod
    def images(self, batches: Batches) -> list[Tensor]:
        """What one step sees."""

    @abstractmethod
    def learners(self) -> dict[str, Tensor]:
        """All that moves, by name."""

    def logits(self) -> dict[str, Tensor]:
        """Those of the learners that probabilities are made of."""
        return {}

    @abstractmethod
    def end_epoch(self) -> Record:
        """Validate, and begin a new tally; `self.epoch` and `self.seconds` count this epoch."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Tensors and plain values that `restore` goes on from."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave, on the host."""

    # ---- the road ------------------------------------------------------------------------

    def begin(self, *, resume: bool, restart: bool) -> None:
        """Make the folder ready, and stand at the start or where the checkpoint stands."""
        going_on = self.processes.by_first(
            lambda: prepare(self.out, self.kind, resume=resume, restart=restart)
        )
        if self.processes.any(bool(going_on)):
            self.processes.agreed(self._go_on)
        else:
            self.save()
        self.processes.by_first(lambda: truncate_metrics(self.out, self.epoch))

    def _go_on(self) -> None:
        """Stand where the checkpoint stands, which every process reads for itself."""
        content = load_checkpoint(self.out / CHECKPOINT, self.schema)
        check_same_options(content["options"], self.identity(), self.out / CHECKPOINT)
        self.epoch, self.step, self.seconds = (content[x] for x in ("epoch", "step", "seconds"))
        self.saved = self.step
        self.restore(content["state"])
        restore_random_state(content["random"])

    def save(self) -> None:
        """The checkpoint, whole or not at all; whoever does not write it waits."""
        self.processes.by_first(self._save)
        self.saved = self.step

    def _save(self) -> None:
        content = {
            "schema": self.schema,
            "options": self.identity(),
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "state": self.state(),
            "random": random_state(),
        }
        save_checkpoint(self.out / CHECKPOINT, content)

    def optimise(self, device: Device, *, quiet: bool) -> None:
        """All epochs that are left, each with its line and its checkpoint.

        Ctrl-C ends the step, saves, and raises a KeyboardInterrupt that says how to go on. A loss
        that is no longer finite ends the run at its step, in a BadInput that says why.
        """
        with self._monitor(quiet=quiet) as monitor, self._explained():
            if not quiet and self.processes.writes:
                monitor.say(self._introduction(device))
            while self.epoch < self.epochs:
                with interruption() as interrupted:
                    for batches in self._left_of_the_epoch():
                        self._recent.append(batches)
                        self.take(batches)
                        self.step += 1
                        monitor.advance()
                        if self.processes.any(interrupted.asked):
                            self._check_finite()
                            self.save()
                            raise KeyboardInterrupt(self._how_to_go_on())
                    self._check_finite()
                    monitor.epoch(self.end_epoch())
                    self.save()
                    if self.processes.any(interrupted.asked) and self.epoch < self.epochs:
                        raise KeyboardInterrupt(self._how_to_go_on())

    def _left_of_the_epoch(self) -> Iterator[Batches]:
        """Batches that were not done before an interruption."""
        done = self.step - self.epoch * self.steps_of_an_epoch
        left = islice(self.batches(), done, self.steps_of_an_epoch)
        while (batches := self.processes.agreed(lambda: next(left, None))) is not None:
            yield batches

    # ---- a loss that is not finite -------------------------------------------------------

    def _check_finite(self) -> None:
        """NotFiniteError where a checkpoint of now would be of no use."""
        self.watch.settle()
        check_finite(self.learners(), self.step - 1)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except NotFiniteError as found:
            raise BadInput(self._divergence(found)) from found

    def _divergence(self, found: NotFiniteError) -> str:
        finite = all_finite(image for batches in self._recent for image in self.images(batches))
        damaged = self.processes.any(not finite)  # a process sees its own share alone
        evidence = Evidence(
            self.data, not damaged, self.learners(), self.logits(), self.watch.norms
        )
        return (
            f"{found.what} is {found.value} at step {found.step + 1}, in epoch "
            f"{found.step // self.steps_of_an_epoch + 1}: {cause_of(found, evidence)}; "
            f"{self.out / CHECKPOINT} still holds step {self.saved}{self._way_out(damaged)}"
        )

    def _way_out(self, damaged: bool) -> str:
        """On a CPU the checkpoint leads to the same step again, unless it was the images."""
        if not damaged and self.fabric.device.type == "cpu":
            return f", which leads here again: give --restart with {self.schedule.gentler}"
        change = "the data set mended" if damaged else self.schedule.gentler
        return f" for --resume, or give --restart with {change}"

    # ---- what it tells -------------------------------------------------------------------

    def _monitor(self, *, quiet: bool) -> Monitor | Silence:
        if not self.processes.writes:
            return Silence()
        return Monitor(
            self.out,
            self.doing,
            epochs=self.epochs,
            steps=self.steps,
            done=self.step,
            quiet=quiet,
        )

    def _introduction(self, device: Device) -> str:
        chosen = describe_device(self.fabric.device, self.processes.size)
        where = f"{chosen}, chosen by --device auto" if device == "auto" else chosen
        begun = f"going on after step {self.step}, " if self.step else ""
        return f"{begun}{self.describe()}, on {where}"

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """For what comes after the last epoch, which is saved: Ctrl-C says how to go on."""
        try:
            yield
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(self._how_to_go_on()) from error

    def _how_to_go_on(self) -> str:
        return (
            f"interrupted after step {self.step} of {self.steps}, which is saved in {self.out}; "
            "the same command with --resume goes on"
        )
