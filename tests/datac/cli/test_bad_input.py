"""Bad data and bad genotypes through the command line: exit code 2, one sentence, nothing written.

What each part refuses, and how, is tested beside the part; here it is that a command says so
before it writes or harms anything.
"""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datac import output_folder, published
from datac.cli import run
from datac.documents.text_forms import to_text
from datac.exit_codes import ExitCode
from datac.output_folder import state_of
from searcher.monitor import Monitor

Refused = Callable[..., str]

SIDE = 16
TINY = ("--channels", "2", "--cells", "3", "--head-channels", "2", "--crop", str(SIDE))
SHORT = ("--batch-size", "2", "--epochs", "2", "--device", "cpu")

ON_DATA = {
    "dataset": lambda data: ["dataset", data],
    "train": lambda data: ["train", "data-m4", "--data", data, *TINY, *SHORT],
    "search": lambda data: ["search", "--data", data, *TINY, *SHORT],
}
ON_GENOTYPE = {
    "show": lambda genotype: ["show", genotype],
    "train": lambda genotype: ["train", genotype, "--data", "shapes-classification", *SHORT],
    "compile": lambda genotype: ["compile", genotype, "--target", "onnx"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that one stands in; what is given lies beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below, with its size and the time of its last change."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


@pytest.fixture
def refused(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """refused(*arguments): the one sentence that `datac` answers, where nothing was written."""

    def call(*arguments: str) -> str:
        before = files(tmp_path)
        assert run(arguments) == ExitCode.BAD_INPUT
        assert files(tmp_path) == before
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("datac: ")
        assert said.err.count("\n") == 1
        return said.err.removeprefix("datac: ").removesuffix("\n")

    return call


# ---------------------------------------------------------------- data


def write_pair(folder: Path, split: str, stem: int) -> None:
    draws = np.random.default_rng(stem)
    pixels = draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    label = draws.integers(0, 11, (SIDE, SIDE), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / split / f"{stem}.png")
    Image.fromarray(label).save(folder / f"{split}annot" / f"{stem}.png")


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """A data set in CamVid's layout, large enough to be halved by a search."""
    root = tmp_path / "camvid"
    for split, count in (("train", 8), ("val", 2)):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for stem in range(count):
            write_pair(root, split, stem)
        lines = (f"{split}/{stem}.png {split}annot/{stem}.png\n" for stem in range(count))
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def without_a_label(root: Path) -> str:
    (root / "trainannot/3.png").unlink()
    return "trainannot/3.png: missing label"


def of_another_size(root: Path) -> str:
    Image.fromarray(np.zeros((SIDE, SIDE + 1), dtype=np.uint8)).save(root / "trainannot/3.png")
    return "trainannot/3.png: the label is 16x17, its image train/3.png is 16x16"


def beyond_the_classes(root: Path) -> str:
    Image.fromarray(np.full((SIDE, SIDE), 12, dtype=np.uint8)).save(root / "valannot/1.png")
    return "valannot/1.png: label value 12 at row 0, column 0 is outside the classes"


def truncated(root: Path) -> str:
    path = root / "train/3.png"
    path.write_bytes(path.read_bytes()[:-200])
    return "train/3.png: not a whole image"


def without_samples(root: Path) -> str:
    (root / "val.txt").write_text("\n")
    return "val.txt: the list is empty"


@pytest.mark.parametrize("command", ON_DATA)
@pytest.mark.parametrize(
    "damage", [without_a_label, of_another_size, beyond_the_classes, truncated, without_samples]
)
def test_damaged_data_is_refused(
    camvid: Path, refused: Refused, command: str, damage: Callable[[Path], str]
) -> None:
    sentence = damage(camvid)
    assert sentence in refused(*ON_DATA[command](str(camvid)))


@pytest.mark.parametrize("command", ["search", "train"])
def test_damaged_data_does_not_harm_what_an_earlier_command_wrote(
    camvid: Path, here: Path, refused: Refused, command: str
) -> None:
    out = here / "out"
    out.mkdir()
    (out / "weights.safetensors").write_bytes(b"hours of work")
    output_folder.mark(out, "run" if command == "search" else "child", finished=True)
    truncated(camvid)
    refused(*ON_DATA[command](str(camvid)), "--out", "out")


# ---------------------------------------------------------------- genotypes


def changed(*place: str | int, to: object) -> str:
    """The text of data-m4 with another value at `place`."""
    content: Any = json.loads(published.load("data-m4").to_json())
    record = content
    for step in place[:-1]:
        record = record[step]
    record[place[-1]] = to
    return json.dumps(content)


NODES = ("cells", "normal", "nodes")
PATH = (*NODES, 0, "paths", 0)
BAD_GENOTYPES = {
    "not JSON": ('{"schema": ', "not JSON (line 1"),
    "wrong version": (
        changed("schema", to="datac.genotype/99"),
        'the version of "datac.genotype/99" is unknown',
    ),
    "unknown operation": (
        changed(*PATH, "operation", to="sepconv3x3"),
        'normal cell, node 2: unknown operation "sepconv3x3". Did you mean "sep_conv_3x3"?',
    ),
    "input out of range": (
        changed(*PATH, "input", to=2),
        "normal cell, node 2, path 0: input 2 is not one of 0 to 1",
    ),
    "used node without paths": (
        changed(*NODES, 0, "paths", to=[]),
        "normal cell: node 2 has no paths, but the output names it",
    ),
    "output names a missing node": (
        changed("cells", "normal", "output", to=[9]),
        "normal cell: the output names node 9, but the nodes are 2 to 5",
    ),
    "output is empty": (
        changed("cells", "normal", "output", to=[]),
        "normal cell: the output names no node",
    ),
    "code in a text form": (
        to_text(published.load("data-m4")).replace(
            "normal=", "normal=__import__('os').mkdir('harm') or ", 1
        ),
        "genotype.json: line 2: the text contains code, and code is never run",
    ),
}


@pytest.mark.parametrize("command", ON_GENOTYPE)
@pytest.mark.parametrize("name", BAD_GENOTYPES)
def test_a_bad_genotype_is_refused(
    tmp_path: Path, refused: Refused, command: str, name: str
) -> None:
    text, sentence = BAD_GENOTYPES[name]
    path = tmp_path / "genotype.json"
    path.write_text(text)
    assert sentence in refused(*ON_GENOTYPE[command](str(path)))


@pytest.mark.parametrize("command", ON_GENOTYPE)
def test_an_endless_device_is_refused(refused: Refused, command: str) -> None:
    sentence = refused(*ON_GENOTYPE[command](os.devnull.replace("null", "zero")))
    assert "is a device or a pipe, not a file" in sentence


# ---------------------------------------------------------------- where results go


def test_a_search_that_cannot_write_its_copy_does_not_begin(here: Path, refused: Refused) -> None:
    (here / "genotype.json").mkdir()
    assert "genotype.json is a folder, where a file will be written" in refused("search")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """disk["full"] = True: whatever is saved from now on finds the disk full."""
    state = {"full": False}
    whole = os.fsync

    def fsync(file: int) -> None:
        if state["full"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(file)

    monkeypatch.setattr(output_folder.os, "fsync", fsync)
    return state


@pytest.mark.parametrize(("command", "out"), [("search", "run"), ("train", "child")])
def test_a_disk_that_fills_up_harms_nothing_that_was_saved(
    camvid: Path,
    here: Path,
    disk: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    out: str,
) -> None:
    def first_step(_monitor: Monitor) -> None:
        disk["full"] = True

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "advance", first_step)
        assert run(ON_DATA[command](str(camvid))) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(": the disk is full; free some space and run the command again")
    assert state_of(here / out) == (out, False)
    disk["full"] = False
    assert run([*ON_DATA[command](str(camvid)), "--resume"]) == ExitCode.PASS


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", [["search"], ["train", "data-m4", "--data", "shapes"]])
def test_a_gpu_that_is_not_here_is_3_and_nothing_is_written(
    here: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, *TINY, "--device", "cuda"]) == ExitCode.PLATFORM_MISSING
    said = capsys.readouterr().err.strip()
    assert said.startswith("datac: --device cuda: ")
    assert "give --device cpu" in said
    assert not any(here.iterdir())
