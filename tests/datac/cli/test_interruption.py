"""An interruption during an import comes when the import is done."""

import signal
import subprocess
import sys
import threading
from importlib import import_module

import pytest

from datac.cli.interruption import held_back


@pytest.fixture(autouse=True)
def _listening():
    """As in the foreground, wherever the tests run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_twice(then):
    with held_back():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        then()


def test_it_comes_when_the_block_is_done():
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(lambda: done.append("all of it"))
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_nothing_came_nothing_is_raised_and_an_error_is_that_of_the_block():
    with held_back():
        pass
    with pytest.raises(ModuleNotFoundError):
        interrupt_twice(lambda: import_module("no_such_module"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_so_and_another_signal_is_not_lost(monkeypatch):
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            assert came == []
        assert came == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_changes():
    found = []

    def look():
        with held_back():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


INTERRUPTED_IN_NUMPY = """
import signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy.dtypes" and "torch" in sys.modules:  # whose C part imports numpy
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupts())
from datac.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_a_search_that_is_interrupted_while_torch_is_loaded_stops(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_NUMPY, "search", "--epochs", "1"],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr.splitlines()[-1:] == ["datac: interrupted"], done.stderr
    assert list(tmp_path.iterdir()) == []
