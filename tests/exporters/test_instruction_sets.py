"""Runs with older instructions: in a process that was told, and with other last bits."""

import os
import platform
import signal
import subprocess
import sys

import numpy as np
import pytest

from compiler.lower import lower
from datac.published import load
from exporters.environment import cpuinfo
from exporters.faults.instruction_sets import Setting, run_with
from exporters.faults.runtimes import HEALTHY
from exporters.initialise import initialise
from exporters.targets.target import TargetFailed

SETTING = Setting("DATAC_A_SETTING", "older")


def test_the_setting_is_that_of_another_process_alone():
    assert run_with(SETTING, os.getenv, "DATAC_A_SETTING") == "older"
    assert run_with(SETTING, os.getpid) == run_with(SETTING, os.getpid) != os.getpid()
    assert "DATAC_A_SETTING" not in os.environ


def test_what_fails_there_fails_here():
    with pytest.raises(ZeroDivisionError):
        run_with(SETTING, divmod, 1, 0)
    assert run_with(SETTING, divmod, 7, 2) == (3, 1)


def test_where_it_ends_that_is_said_and_the_next_run_has_another():
    process = run_with(SETTING, os.getpid)
    with pytest.raises(TargetFailed, match=r"has ended \(exit code 3\)"):
        run_with(SETTING, os._exit, 3)
    assert run_with(SETTING, os.getpid) != process


PROGRAM = """
import os, signal, sys, time
from exporters.faults.instruction_sets import Setting, run_with

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what started it may ignore it
    setting = Setting("DATAC_A_SETTING", "older")
    print(run_with(setting, os.getpid), flush=True)
    run_with(setting, time.sleep, float(sys.argv[1]))
"""


@pytest.mark.parametrize(("stop", "busy"), [(signal.SIGINT, 60), (signal.SIGKILL, 2)])
def test_it_goes_when_its_parent_is_stopped(tmp_path, stop, busy):
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, "program.py", str(busy)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        parent.stdout.readline()
        if stop == signal.SIGINT:
            os.killpg(parent.pid, stop)  # to both, as a terminal does
        else:
            parent.kill()
        _, errors = parent.communicate(timeout=30)  # whoever lives holds the pipes
    assert errors.count("Traceback") == (1 if stop == signal.SIGINT else 0)


@pytest.mark.parametrize(
    ("name", "older"), [("numpy", "AVX2"), ("numpy", "SSE4"), ("OpenVINO", "AVX")]
)
def test_older_instructions_round_otherwise(name, older, networks):
    lacking = HEALTHY[f"{name}, {older}"].missing()
    if lacking is not None:
        pytest.skip(str(lacking))
    if "avx512f" not in " ".join(cpuinfo("flags") or ()).split():
        pytest.skip("this processor has little to leave out")
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
