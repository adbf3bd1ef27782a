"""Runs with older instructions: in a process that was told, and with other last bits."""

import os
import platform
from pathlib import Path

import numpy as np
import pytest

from compiler.lower import lower
from datac.published import load
from exporters.faults.instruction_sets import run_with
from exporters.faults.runtimes import HEALTHY
from exporters.initialise import initialise

AVX_512 = Path("/proc/cpuinfo").is_file() and "avx512f" in Path("/proc/cpuinfo").read_text()


def test_the_setting_is_that_of_another_process_alone():
    setting = ("DATAC_A_SETTING", "older")
    assert run_with(setting, os.getenv, "DATAC_A_SETTING") == "older"
    assert run_with(setting, os.getpid) == run_with(setting, os.getpid) != os.getpid()
    assert "DATAC_A_SETTING" not in os.environ


def test_what_fails_there_fails_here():
    with pytest.raises(ZeroDivisionError):
        run_with(("DATAC_A_SETTING", "older"), divmod, 1, 0)


@pytest.mark.skipif(not AVX_512, reason="this processor has no instructions to leave out")
@pytest.mark.parametrize(
    ("name", "older"), [("numpy", "AVX2"), ("numpy", "SSE4"), ("OpenVINO", "SSE4")]
)
def test_older_instructions_round_otherwise(name, older, networks):
    if name == "OpenVINO":
        pytest.importorskip("openvino")
    network = networks.segmentation
    graph = lower(load("data-m7"), network)
    initialise(graph, network.input, 0)
    x = np.random.default_rng(0).standard_normal((2, *network.input)).astype(np.float32)
    (usual,) = HEALTHY[name].run(graph, x, ()).values()
    (old,) = HEALTHY[f"{name}, {older}"].run(graph, x, ()).values()
    assert not np.array_equal(usual, old)
    assert np.allclose(usual, old, rtol=1e-3, atol=1e-3 * np.abs(usual).max())


def test_another_processor_is_not_told(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "no x86-64" in str(HEALTHY["numpy, AVX2"].missing())
    assert HEALTHY["numpy"].missing() is None
