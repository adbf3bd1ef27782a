"""A checkpoint of another data set, method or version: refused, and left as it is."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image

from datac.cli import run
from datac.exit_codes import ExitCode
from searcher.checkpoint import CHECKPOINT
from searcher.device import cpu_threads
from searcher.monitor import Monitor

SIZES = ["--channels", "2", "--cells", "3", "--crop", "8", "--batch-size", "64", "--epochs", "1"]
DATA = ["--data", "shapes-classification"]
COMMANDS = {
    "search": ["search", "--network", "cifar", "--device", "cpu", *SIZES],
    "train": ["train", "data-m4", "--network", "cifar", "--device", "cpu", *SIZES],
}
FOLDERS = {"search": Path("run"), "train": Path("child")}

pytestmark = pytest.mark.usefixtures("one_thread")


def other_images() -> None:
    """The folder `other`: four classes with as many images as the commands need."""
    for split, count in (("train", 40), ("val", 2)):
        for name in ("a", "b", "c", "d"):
            folder = Path("other", split, name)
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (8, 8), (index, 0, 0)).save(folder / f"{index}.png")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder in which a command was begun and interrupted, one for all tests."""

    def stop(self: Monitor) -> None:
        raise KeyboardInterrupt

    @cache
    def begin(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch, cpu_threads(1):
            patch.chdir(folder)
            patch.setattr(Monitor, "advance", stop)
            assert run([*COMMANDS[name], *DATA]) == ExitCode.INTERRUPTED
        return folder

    return begin


@pytest.fixture
def interrupted(
    begun: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Goes into a folder with a copy of what an interrupted command left; gives its checkpoint."""

    def enter(name: str) -> Path:
        shutil.copytree(begun(name), tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return FOLDERS[name] / CHECKPOINT

    return enter


def change(path: Path, **header: str) -> None:
    content = torch.load(path, weights_only=True)
    assert header.keys() <= content.keys()
    torch.save({**content, **header}, path)


@pytest.mark.parametrize(
    ("name", "arguments", "header", "sentence"),
    [
        ("search", ["--data", "other"], {}, "was made with data set shapes-classification, not "),
        ("train", ["--data", "other"], {}, "was made with data set shapes-classification, not "),
        ("search", [*DATA, "--method", "gdas"], {}, "was made with method data, not gdas; "),
        ("search", [*DATA, "--method", "random"], {}, "was made with method data, not random; "),
        ("search", DATA, {"datac": "0.0.1"}, "was made by datac 0.0.1 "),
        ("train", DATA, {"datac": "0.0.1"}, "was made by datac 0.0.1 "),
        ("search", DATA, {"schema": "datac.search_checkpoint/9"}, "(datac.search_checkpoint/9)"),
        ("train", DATA, {"schema": "datac.train_checkpoint/9"}, "(datac.train_checkpoint/9)"),
        ("train", DATA, {"schema": "datac.search_checkpoint/1"}, "not a checkpoint of datac.train"),
    ],
)
def test_it_is_refused_in_a_sentence_and_left_as_it_is(
    interrupted: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    name: str,
    arguments: list[str],
    header: dict[str, str],
    sentence: str,
) -> None:
    path = interrupted(name)
    other_images()
    if header:
        change(path, **header)
    before = {each: each.read_bytes() for each in path.parent.rglob("*") if each.is_file()}
    capsys.readouterr()
    assert run([*COMMANDS[name], *arguments, "--resume"]) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert sentence in said[0]
    assert "--restart to begin anew" in said[0]
    assert {each: each.read_bytes() for each in path.parent.rglob("*") if each.is_file()} == before


@pytest.mark.parametrize("name", COMMANDS)
def test_with_what_it_was_made_it_goes_on(interrupted: Callable[[str], Path], name: str) -> None:
    interrupted(name)
    assert run([*COMMANDS[name], *DATA, "--resume"]) == ExitCode.PASS
