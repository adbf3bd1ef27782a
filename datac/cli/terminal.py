"""Where results are printed: a terminal as wide as it is, or a file where nothing is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_A_FILE = 200
"""Rich takes 80 where there is no terminal, and cuts cells and commands for it."""


def output() -> Console:
    """The console for results on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_A_FILE)
