"""A tiny build that the commands on builds share."""

import shutil
import subprocess
import sys

import pytest
import torch

from datac.cli import run

TINY = ("--channels", "4", "--cells", "3", "--input", "3x16x16", "--threads", "1")

WITHOUT_TORCH = (
    "import sys\n"
    "sys.modules['torch'] = None\n"  # importing it is a ModuleNotFoundError from now on
    "from datac.cli import main\n"
    "main()\n"
)


@pytest.fixture(scope="session")
def tiny():
    """Options that make a published cell compile in a second."""
    return TINY


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    out = tmp_path_factory.mktemp("compiled") / "build"
    targets = ("--target", "onnx", "--target", "openvino", "--target", "torch")
    code = run(["compile", "data-m4", *TINY, *targets, "--bench-seconds", "0", "--out", str(out)])
    assert code == 0
    return out


@pytest.fixture
def build(compiled, tmp_path, monkeypatch):
    """A copy of the build, called `build`, in an empty folder that one stands in."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(compiled, tmp_path / "build")


@pytest.fixture
def without_torch():
    """without_torch(*arguments): `datac` in a process where torch cannot be imported."""

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, *arguments],
            env={"PYTHONPATH": ":".join(filter(None, sys.path)), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Nets this small only wait for one another on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
