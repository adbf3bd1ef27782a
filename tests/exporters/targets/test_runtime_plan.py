"""`runtime.py` on a TensorRT plan, with a driver and a TensorRT that are played: y = 2 x."""

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from types import SimpleNamespace

import numpy as np
import pytest

from exporters.standalone import runtime

ABOUT = {"target": "trt", "embedded": []}


@pytest.fixture
def here(monkeypatch, driver, trt):
    """The played libraries where `runtime.py` looks for them."""
    trt.Logger = lambda level: SimpleNamespace(log=lambda *words: None)
    trt.Logger.ERROR = 1
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    monkeypatch.setattr(trt.Context, "stream", 0)
    return driver


def test_it_answers_at_several_sizes_and_gives_memory_back(here, plan, image):
    run = runtime.tensorrt(plan, ABOUT, None)
    for shape in ((1, 3, 2, 2), (2, 3, 5, 7), (1, 3, 4, 4)):
        inputs = image(shape)
        np.testing.assert_array_equal(run(inputs), 2 * inputs)
    assert len(here.memory) == 2, "one block for the input and one for the answer"


def test_another_thread_may_ask_it(here, plan, image):
    run, inputs = runtime.tensorrt(plan, ABOUT, None), image((1, 3, 2, 2))
    here.current.clear()
    with ThreadPoolExecutor(1) as other:
        np.testing.assert_array_equal(other.submit(run, inputs).result(), 2 * inputs)
        assert here.current == {other.submit(get_ident).result()}


def test_what_it_cannot_run_is_one_sentence(here, plan, image, monkeypatch):
    run = runtime.tensorrt(plan, ABOUT, None)
    with pytest.raises(runtime.CannotRun, match="built for other sizes than 3x3x4x4"):
        run(image((3, 3, 4, 4)))
    here.failing["cuMemAlloc_v2"] = 2
    with pytest.raises(runtime.CannotRun, match="answers cuMemAlloc_v2 with error 2"):
        run(image((2, 3, 9, 9)))
    plan.write_bytes(b"of another version")
    with pytest.raises(runtime.CannotRun, match="of another GPU or TensorRT than those here"):
        runtime.tensorrt(plan, ABOUT, None)


def test_without_a_driver_tensorrt_is_not_touched(monkeypatch, plan):
    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(runtime.CannotRun, match="here is no NVIDIA driver"):
        runtime.tensorrt(plan, ABOUT, None)
    assert "tensorrt" not in sys.modules
