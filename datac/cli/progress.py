"""Progress of long work on the terminal: what is being done, how far, and the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_line() -> Iterator[Callable[[str, float], None]]:
    """A function (what, share done in 0..1) that shows one live line on stderr.

    Where stderr is no terminal each kind of work is named once, so that logs stay short.
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
    if not console.is_terminal:
        yield _named_once()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        kind = ""

        def show(what: str, share: float) -> None:
            nonlocal kind
            begins, kind = _kind(what) != kind, _kind(what)
            if begins:
                bar.reset(task, total=1.0, description=what)
            bar.update(task, description=what, completed=share)

        yield show


def _named_once() -> Callable[[str, float], None]:
    seen = set()

    def show(what: str, share: float) -> None:
        del share
        if _kind(what) not in seen:
            seen.add(_kind(what))
            print(f"{_kind(what)} ...", file=sys.stderr, flush=True)

    return show


def _kind(what: str) -> str:
    """`latency, round 3 of 15` → `latency`."""
    return what.partition(",")[0]
