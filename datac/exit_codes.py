"""What each exit code of `datac` means, and which one stands when several apply."""

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Scripts rely on these numbers."""

    PASS = 0
    """Everything that was asked for was done, and every gate passed."""
    GATE_FAILED = 1
    """A check ran and its verdict is `fail`."""
    BAD_INPUT = 2
    """A file, an option or a data set is wrong; nothing was written or harmed."""
    PLATFORM_MISSING = 3
    """A package, driver or device is missing; what can be made without it was made."""
    INCONCLUSIVE = 4
    """What was timed is too noisy to tell. Only `datac bench` and `datac table` answer this."""
    BUG = 70
    """A bug of ours (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C: 128 + SIGINT, as shells report it."""
    PIPE_CLOSED = 141
    """The reader of our output went away: 128 + SIGPIPE, so that it never looks like a pass."""


PRECEDENCE = (
    ExitCode.BUG,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.BAD_INPUT,
    ExitCode.GATE_FAILED,
    ExitCode.PLATFORM_MISSING,
    ExitCode.INCONCLUSIVE,
    ExitCode.PASS,
)
"""The first of these that applies is the one that the process ends with."""


def worst_exit_code(codes: Iterable[int]) -> ExitCode:
    """The code to end with when `codes` all apply; of none, PASS. ValueError on a foreign code."""
    return min(map(ExitCode, codes), key=PRECEDENCE.index, default=ExitCode.PASS)
