"""`pytest tests/rewrites --update` writes what the passes do now into the cases."""

from collections.abc import Iterator

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite what stands after `---`")


@pytest.fixture(scope="session")
def update(pytestconfig: pytest.Config) -> bool:
    """Where the whole suite runs, pytest reads this file too late to know the option."""
    return bool(pytestconfig.getoption("--update", default=False))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Graphs this small only wait for one another on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
