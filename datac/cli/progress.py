"""Progress of long work on stderr: what is being done, how far, and the time left."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_S = 30.0
"""Between two lines of a log on the same kind of work."""


@contextmanager
def progress_line(
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[str, float], None]]:
    """A function (what, share done in 0..1) that shows one live line.

    What stands before the first comma of `what` is the kind of work; each begins at 0 anew. Where
    stderr is no terminal, each kind is named once, and at most every half minute comes a line on
    how far it is.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    live = console.is_terminal
    with Progress(
        *columns,
        console=console,
        transient=True,
        get_time=clock,
        disable=not live,
        speed_estimate_period=math.inf,  # a step may take minutes
    ) as bar:
        yield _Line(bar, live=live).show


class _Line:
    """The one task of a bar, and where it is not shown, lines about it."""

    def __init__(self, bar: Progress, *, live: bool) -> None:
        self._bar, self._live = bar, live
        self._task = bar.add_task("", total=1.0)
        self._kind, self._named, self._said = "", set[str](), 0.0

    def show(self, what: str, share: float) -> None:
        kind = what.partition(",")[0]  # `latency, round 3 of 15` → `latency`
        if kind != self._kind:
            self._bar.reset(self._task, total=1.0, description=what)
        self._kind = kind
        self._bar.update(self._task, description=what, completed=share)
        if not self._live:
            self._log(what, share)

    def _log(self, what: str, share: float) -> None:
        now = self._bar.get_time()
        if self._kind not in self._named:
            line = f"{self._kind} ..."
        elif now - self._said >= EVERY_S:
            seconds = self._bar.tasks[0].time_remaining
            left = "" if not seconds else f", about {seconds:.0f} s left"
            line = f"{what}: {share:.0%}{left}"
        else:
            return
        self._named.add(self._kind)
        self._said = now
        print(line, file=sys.stderr, flush=True)
