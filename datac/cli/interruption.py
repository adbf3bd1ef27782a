"""Ctrl-C where it must not come."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """An interruption, or a request to end, waits until the block is done.

    For imports of torch: its C part imports numpy, and there an interruption is lost, with numpy
    left half loaded. Outside the main thread, which alone is interrupted, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def wait(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    # One that is ignored, as in a background job, or that C listens to, is left alone.
    alone = (signal.SIG_IGN, None)
    asked = [number for number in SIGNALS if signal.getsignal(number) not in alone]
    before = {number: signal.signal(number, wait) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for each in dict.fromkeys(came):
        signal.raise_signal(each)
