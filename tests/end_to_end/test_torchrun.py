"""`torchrun -m datac search` as a user starts it: two processes, one set of files and sentences."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from datac.cli import run
from datac.exit_codes import ExitCode

EPOCHS, TIMEOUT_S = 3, 240
SEARCH = [
    *("search", "--task", "segmentation", "--device", "cpu", "--precision", "bf16"),
    *("--channels", "2", "--cells", "3", "--head-channels", "4", "--crop", "16"),
    *("--batch-size", "32", "--epochs", str(EPOCHS)),
]
"""The segmentation head has dropout, which each process draws for itself."""


def start(folder: Path, arguments: Sequence[str], *program: str) -> subprocess.Popen[str]:
    """program: a file, for datac itself."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*torchrun, "--nproc-per-node", "2", *(program or ("-m", "datac")), *arguments],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)."""
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends those that it started
        process.communicate(timeout=60)
        raise
    return process.returncode, output, errors


def started(folder: Path, arguments: Sequence[str], *program: str) -> tuple[int, str, str]:
    return ended(start(folder, arguments, *program))


def sentences(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.startswith("datac:")]


def exit_codes(errors: str) -> list[str]:
    """Those in torchrun's report."""
    return [line.split()[2] for line in errors.splitlines() if line.strip().startswith("exitcode")]


def lines(folder: Path) -> list[dict[str, object]]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def wait_for_epochs(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + TIMEOUT_S
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def last_child(process: subprocess.Popen[str]) -> int:
    """The process of the highest number that torchrun has started."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    return max(child for child, parent in pairs if parent == process.pid)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a run was made that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    code, output, errors = started(folder, SEARCH)
    assert code == 0, errors
    assert output.count("Genotype(") == output.count("wrote run/genotype.json") == 1
    first = r"batches of 32 shared by 2 processes, about \d+ MB of tensors, on 2 x cpu \(1 thread\)"
    assert len(re.findall(first, errors)) == 1
    assert errors.count(f"epoch {EPOCHS}/{EPOCHS}") == 1
    return folder


def test_one_process_writes(straight: Path) -> None:
    run_folder = straight / "run"
    assert (straight / "genotype.json").read_bytes() == (run_folder / "genotype.json").read_bytes()
    assert [record["epoch"] for record in lines(run_folder)] == [1, 2, 3]
    assert len(list((run_folder / "tensorboard").iterdir())) == 1
    result = json.loads((run_folder / "search_result.json").read_text())
    assert result["device"] == "2 x cpu (1 thread)"
    assert 0 <= result["metrics"]["miou"] <= 1
    assert sorted(path.name for path in straight.iterdir()) == ["genotype.json", "run"]


def test_interrupted_and_killed_it_goes_on_bit_for_bit(
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process = start(tmp_path, SEARCH)
    wait_for_epochs(tmp_path / "run", 1, process)
    process.send_signal(signal.SIGINT)  # torchrun passes it on to both
    code, _, errors = ended(process)
    assert code != 0
    assert len(sentences(errors)) == 1
    assert "saved in run; the same command with --resume goes on" in sentences(errors)[0]

    monkeypatch.chdir(tmp_path)
    assert run([*SEARCH, "--resume"]) == ExitCode.BAD_INPUT
    assert "was made with processes 2, not 1" in capsys.readouterr().err

    process = start(tmp_path, [*SEARCH, "--resume"])
    wait_for_epochs(tmp_path / "run", 2, process)
    os.kill(last_child(process), signal.SIGKILL)
    assert ended(process)[0] != 0
    assert not (tmp_path / "run" / "genotype.json").exists()

    code, _, errors = started(tmp_path, [*SEARCH, "--resume"])
    assert code == 0, errors
    assert lines(tmp_path / "run") == lines(straight / "run")
    for name in ("genotype.json", "supernet.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (straight / "run" / name).read_bytes()


DAMAGED = """
import math, os, sys
from datac.cli import run
from searcher.search import _Search

take = _Search.take

def damaged(self, batches):
    if self.step == 10 and os.environ["RANK"] == "1":
        batches[0].images[0] = math.nan
    take(self, batches)

_Search.take = damaged
sys.exit(run(sys.argv[1:]))
"""


UNREADABLE = """
import os
import sys

from datac.cli import run
from searcher import epochs

if os.environ["RANK"] == "1":
    epochs.CHECKPOINT = "nowhere.pt"
sys.exit(run(sys.argv[1:]))
"""


def test_they_stop_at_one_step_where_one_alone_has_seen_a_damaged_image(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(DAMAGED)
    code, _, errors = started(tmp_path, SEARCH, "program.py")
    assert code != 0
    assert [
        "the loss is nan at step 11, in epoch 2: shapes gave images that are not finite; "
        "run/checkpoint.pt still holds step 8" in sentence
        for sentence in sentences(errors)
    ] == [True]
    assert exit_codes(errors) == ["2", "2"]
    saved = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    (tmp_path / "other.py").write_text(UNREADABLE)
    code, _, errors = started(tmp_path, [*SEARCH, "--resume"], "other.py")
    assert code != 0
    assert ["run/nowhere.pt: there is no checkpoint" in each for each in sentences(errors)] == [
        True
    ]
    assert exit_codes(errors) == ["2", "2"]
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == saved


def test_what_the_first_process_alone_has_found_is_said_once(tmp_path: Path) -> None:
    code, output, errors = started(tmp_path, [*SEARCH, "--resume"])
    assert code != 0
    assert output == ""
    assert ["there is nothing to resume" in each for each in sentences(errors)] == [True]
    assert exit_codes(errors) == ["2", "2"]
    assert list(tmp_path.iterdir()) == []


def test_other_commands_are_not_shared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert run(["train", "x.json", "--data", "shapes"]) == ExitCode.BAD_INPUT
    assert "datac train does not share its work between 2 processes" in capsys.readouterr().err
