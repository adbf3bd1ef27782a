"""The driver's C interface, against a driver that is played."""

import numpy as np
import pytest

from datac.errors import PlatformMissing
from exporters import nvidia_driver
from exporters.gpu import Gpu
from exporters.targets.target import TargetFailed


def test_what_goes_up_comes_down(driver):
    gpu = Gpu()
    sent = np.arange(12, dtype=np.float32).reshape(3, 4)
    got = np.empty_like(sent)
    gpu.upload(gpu.buffer("x", sent.nbytes), sent)
    gpu.download(gpu.buffer("x", sent.nbytes), got)
    gpu.synchronise()
    np.testing.assert_array_equal(got, sent)
    assert (gpu.name, gpu.compute_capability) == ("Played GPU", "8.6")


def test_a_buffer_is_kept_until_it_must_grow(driver):
    gpu = Gpu()
    first = gpu.buffer("x", 100)
    assert gpu.buffer("x", 50) == first
    gpu.buffer("x", 200)
    assert len(driver.memory) == 1
    gpu.buffer("nothing", 0)
    assert len(driver.memory) == 2


def test_events_time_what_lies_between_them(driver):
    gpu = Gpu()
    array = np.zeros(4, np.float32)
    address = gpu.buffer("x", array.nbytes)

    def two_copies():
        gpu.upload(address, array)
        gpu.upload(address, array)

    assert gpu.time(two_copies) == 2.0
    assert gpu.time(lambda: None) == 0.0


def test_closing_gives_everything_back_once(driver):
    gpu = Gpu()
    gpu.buffer("x", 8)
    gpu.close()
    gpu.close()
    assert driver.memory == {}
    assert driver.open == 0


def test_a_failure_names_the_call_and_the_reason(driver):
    driver.failing["cuMemAlloc_v2"] = 2
    with pytest.raises(TargetFailed, match=r"cuMemAlloc_v2 .*CUDA error 2: out of memory"):
        Gpu().buffer("x", 8)


def test_without_a_driver_nothing_is_touched(no_driver):
    with pytest.raises(PlatformMissing, match="no NVIDIA driver"):
        Gpu()


@pytest.mark.parametrize(
    ("failing", "clause"),
    [({"cuInit": 100}, "does not start"), ({}, None)],
)
def test_the_driver_is_asked(driver, failing, clause):
    driver.failing.update(failing)
    reason = nvidia_driver.why_no_gpu()
    assert reason is None if clause is None else clause in reason
