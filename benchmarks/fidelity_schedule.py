"""Which run comes when, and several at once: a process each, all resumable.

A run that is told to stop (Ctrl-C, or because whoever started it is gone) ends its step, saves and
leaves; the same command goes on there.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from datac.errors import BadInput

if TYPE_CHECKING:
    from fidelity_record import Record
    from fidelity_sizes import Study

LOG, LOCK = "log.txt", ".lock"
STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, order=True)
class Name:
    """Which run: a row of the table of a data set, and a seed."""

    data: str
    row: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}/{self.row}/{self.seed}"


def planned(
    studies: Mapping[str, Study],
    rows: Collection[str],
    most_seeds: int | None = None,
    first_seed: int = 0,
) -> list[Name]:
    """All runs, seed by seed, so that tables are balanced wherever one stops."""
    names = [
        Name(data, row, first_seed + seed)
        for data, study in studies.items()
        for row, count in study.seeds.items()
        if row in rows
        for seed in range(count if most_seeds is None else min(count, most_seeds))
    ]
    return sorted(names, key=lambda name: name.seed)  # stable: else in the order of the tables


def seconds_left(left: Sequence[Name], done: Mapping[Name, Record], jobs: int) -> float | None:
    """By the mean of finished runs of the row, else of the data set, else of all."""

    def mean(like: Callable[[Name], bool]) -> float | None:
        known = [record.seconds for name, record in done.items() if like(name)]
        return statistics.fmean(known) if known else None

    def expected(name: Name) -> float | None:
        row = mean(lambda n: (n.data, n.row) == (name.data, name.row))
        return row or mean(lambda n: n.data == name.data) or mean(lambda _: True)

    each = [expected(name) for name in left]
    known = [seconds for seconds in each if seconds is not None]
    return sum(known) / jobs if len(known) == len(each) else None


@dataclass
class Job:
    """A run in its process."""

    name: Name
    process: BaseProcess
    begun: float

    @property
    def minutes(self) -> float:
        """Since it began."""
        return (time.monotonic() - self.begun) / 60


def work_off(
    names: Sequence[Name],
    jobs: int,
    folder_of: Callable[[Name], Path],
    start: Callable[[Name], tuple[Callable[..., None], tuple[object, ...]]],
    ended: Callable[[Name, bool, float], None],
) -> None:
    """Run all, `jobs` at once. start: what a process calls. ended: (name, well?, minutes).

    On Ctrl-C and SIGTERM all are asked to save, and KeyboardInterrupt is raised when they have.
    """
    waiting, running = list(names), list[Job]()
    with _stopped_alike():
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    name = waiting.pop(0)
                    running.append(_begin(name, folder_of(name), *start(name)))
                wait([job.process.sentinel for job in running])
                for job in [job for job in running if not job.process.is_alive()]:
                    running.remove(job)
                    job.process.join()
                    ended(job.name, job.process.exitcode == 0, job.minutes)
        except KeyboardInterrupt:
            for job in running:
                if job.process.pid is not None and job.process.is_alive():
                    os.kill(job.process.pid, signal.SIGINT)
            for job in running:
                job.process.join()
            raise


def _begin(
    name: Name, folder: Path, call: Callable[..., None], arguments: tuple[object, ...]
) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_in_process, args=(folder / LOG, call, arguments))
    process.start()
    return Job(name, process, time.monotonic())


def _in_process(log: Path, call: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """In a group of its own, so that Ctrl-C reaches it once, from its parent."""
    os.setpgid(0, 0)
    for number in STOPS:
        signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        call(*arguments)
    except KeyboardInterrupt as error:
        print(error, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def _stopped_alike() -> Iterator[None]:
    """Ctrl-C and SIGTERM interrupt, also in the background, where a shell switches Ctrl-C off."""
    before = {n: signal.signal(n, signal.default_int_handler) for n in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """BadInput where another process is at work in `folder`; the lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"{folder} is being worked on by another process; wait for it"
            ) from error
        yield
