"""What tests of the search share."""

from collections.abc import Iterator

import pytest

from searcher.device import cpu_threads


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine."""
    with cpu_threads(1):
        yield
