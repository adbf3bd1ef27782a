"""What tests of the search share; those of trainings import `trainings` by name."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from searcher.device import cpu_threads

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine."""
    with cpu_threads(1):
        yield
