"""The torch target: the build's own `model.py`, and nothing else, in eager mode."""

import os
import py_compile
import subprocess
import sys

import numpy as np
import pytest
import torch

from datac.errors import BadInput, PlatformMissing
from exporters.reference import load_reference
from exporters.targets import resolve
from exporters.targets.target import BuildOptions, Engine

OPTIONS = BuildOptions((1, 3, 16, 16), threads=1)
ENGINE = Engine("weights.safetensors", {}, "cpu", {"dynamic": True})


@pytest.fixture
def folder(build):
    return build / "engines/torch-f32"


def load(folder, options=OPTIONS):
    return resolve("torch").load(folder, ENGINE, options)


def test_it_answers_as_the_reference_at_every_size(folder, build):
    with load(folder) as runner:
        assert (runner.device, runner.threads) == ("cpu", 1)
        for case in load_reference(build / "reference.npz").cases:
            answer = runner.run({"input": case.input})["logits"]
            assert answer.dtype == np.float32
            assert answer == pytest.approx(case.outputs["logits"], abs=1e-4)


def test_a_call_is_timed_and_the_thread_count_restored(folder):
    before = torch.get_num_threads()
    options = BuildOptions((1, 3, 16, 16), threads=2)
    with load(folder, options) as runner:
        milliseconds, transfer = runner.time_call({"input": np.zeros((1, 3, 16, 16), np.float32)})
    assert milliseconds > 0
    assert transfer is None
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("change", [lambda text: text + b"\n", lambda text: b"\xff", lambda _: b""])
def test_a_foreign_model_py_is_not_run(folder, change):
    path = folder / "model.py"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BadInput, match="is not run"):
        load(folder)


def test_a_poisoned_bytecode_cache_is_not_run(folder, tmp_path):
    """Python would take it for `model.py`, since time and size of the source agree."""
    path, trace = folder / "model.py", tmp_path / "trace"
    genuine, status = path.read_bytes(), path.stat()
    times = (status.st_atime_ns, status.st_mtime_ns)
    attack = f"open({str(trace)!r}, 'w')\n".encode()
    path.write_bytes(attack + b"#" * (len(genuine) - len(attack)))
    os.utime(path, ns=times)
    py_compile.compile(str(path), doraise=True)
    path.write_bytes(genuine)
    os.utime(path, ns=times)
    assert list(folder.glob("__pycache__/*.pyc"))
    with load(folder) as runner:
        runner.run({"input": np.zeros((1, 3, 16, 16), np.float32)})
    assert not trace.exists()


def test_cuda_that_is_not_there_is_never_the_cpu(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PlatformMissing, match="no CUDA device"):
        load(folder, BuildOptions((1, 3, 16, 16), device="cuda"))


def test_without_torch_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    missing = resolve("torch").missing()
    assert missing is not None
    assert "pip install 'datac[search]'" in str(missing)
    with pytest.raises(PlatformMissing, match="torch"):
        resolve("torch").load(None, ENGINE, OPTIONS)


def test_model_py_runs_where_there_is_torch_and_nothing_of_datac(folder, tmp_path):
    """By itself, as a user would: from its folder, with torch alone in reach."""
    script = (
        "import sys\n"
        "for name in ('datac', 'compiler', 'exporters', 'searcher', 'numpy'):\n"
        "    sys.modules[name] = None\n"
        "import runpy\n"
        "runpy.run_path('model.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 3)"
