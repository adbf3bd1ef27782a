"""Who hears a signal while a block runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None
"""As `signal.signal` takes it: a function, SIG_IGN or SIG_DFL."""


@contextmanager
def heard_by(number: int, handler: Handler) -> Iterator[None]:
    """In the block the signal is `handler`'s, then again that of whoever had it before.

    Outside the main thread, where Python lets nobody listen, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
