"""Ctrl-C where it must not come."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from datac.signals import heard_by

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """An interruption, or a request to end, waits until the block is done.

    For imports of torch: its C part imports numpy, and there an interruption is lost, with numpy
    left half loaded. Outside the main thread, which alone is interrupted, nothing changes.
    """
    came: list[int] = []

    def wait(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    # One that is ignored, as in a background job, or that C listens to, is left alone.
    alone = (signal.SIG_IGN, None)
    with ExitStack() as stack:
        for number in SIGNALS:
            if signal.getsignal(number) not in alone:
                stack.enter_context(heard_by(number, wait))
        yield
    for each in dict.fromkeys(came):
        signal.raise_signal(each)
