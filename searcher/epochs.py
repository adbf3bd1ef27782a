"""The road that a search and a training share: epochs of steps, saved, interrupted and resumed.

Where several processes share a search all take this road together: they stop after the same step,
and the first one alone writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

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
from searcher.monitor import Monitor, Record, Silence, truncate_metrics
from searcher.processes import Processes

if TYPE_CHECKING:
    from lightning.fabric import Fabric


Batches = TypeVar("Batches")
"""What one step takes."""


class EpochRun(ABC, Generic[Batches]):
    """One search or training on its way.

    epoch, step: how many are done. seconds: of the epochs that are done.
    """

    kind: ClassVar[Kind]
    schema: ClassVar[str]
    doing: ClassVar[str]
    """For the progress: "searching"."""

    def __init__(self, fabric: Fabric, out: Path, *, epochs: int, steps_of_an_epoch: int) -> None:
        self.fabric, self.out, self.processes = fabric, out, Processes(fabric)
        self.epochs, self.steps_of_an_epoch = epochs, steps_of_an_epoch
        self.epoch, self.step, self.seconds = 0, 0, 0.0

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
            content = load_checkpoint(self.out / CHECKPOINT, self.schema)
            check_same_options(content["options"], self.identity(), self.out / CHECKPOINT)
            self.epoch, self.step, self.seconds = (content[x] for x in ("epoch", "step", "seconds"))
            self.restore(content["state"])
            restore_random_state(content["random"])
        else:
            self.save()
        self.processes.by_first(lambda: truncate_metrics(self.out, self.epoch))

    def save(self) -> None:
        """The checkpoint, whole or not at all; whoever does not write it waits."""
        self.processes.by_first(self._save)

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

        Ctrl-C ends the step, saves, and raises a KeyboardInterrupt that says how to go on.
        """
        with self._monitor(quiet=quiet) as monitor:
            if not quiet and self.processes.writes:
                monitor.say(self._introduction(device))
            while self.epoch < self.epochs:
                with interruption() as interrupted:
                    for batches in self._left_of_the_epoch():
                        self.take(batches)
                        self.step += 1
                        monitor.advance()
                        if self.processes.any(interrupted.asked):
                            self.save()
                            raise KeyboardInterrupt(self._how_to_go_on())
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
