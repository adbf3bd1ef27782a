"""Checkpoints: whole or not at all, content only, and for the same options."""

import os
import pickle
import signal
from pathlib import Path

import pytest
import torch

from datac import __version__
from datac.errors import BadInput
from searcher.checkpoint import (
    check_same_options,
    interruption,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)

SCHEMA = "datac.test_checkpoint/1"


def content(value: float) -> dict[str, object]:
    return {"schema": SCHEMA, "value": torch.tensor(value), "list": [1, 2.5, "x", None]}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, content(1.0))
    save_checkpoint(path, content(2.0))
    loaded = load_checkpoint(path, SCHEMA)
    assert loaded["value"] == 2.0
    assert loaded["list"] == [1, 2.5, "x", None]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


class Evil:
    def __reduce__(self) -> object:
        return os.mkdir, ("harm",)


def test_a_pickle_is_not_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.pt").write_bytes(pickle.dumps(Evil()))
    torch.save({"schema": SCHEMA, "value": Evil()}, "torch.pt")
    for name in ("plain.pt", "torch.pt"):
        with pytest.raises(BadInput, match="not a whole checkpoint; give --restart"):
            load_checkpoint(Path(name), SCHEMA)
    assert not Path("harm").exists()


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, "half"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes | str) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, content(1.0))
    raw = path.read_bytes()
    path.write_bytes(damage if isinstance(damage, bytes) else raw[: len(raw) // 2])
    with pytest.raises(BadInput, match="not a whole checkpoint"):
        load_checkpoint(path, SCHEMA)


def test_another_kind_of_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, content(1.0))
    with pytest.raises(BadInput, match=r"not a checkpoint of datac\.other/1"):
        load_checkpoint(path, "datac.other/1")
    with pytest.raises(BadInput, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.pt", SCHEMA)


def test_another_version_of_the_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, content(1.0))
    sentence = rf"made by datac {__version__} \({SCHEMA}\), this is .*_checkpoint/2.*--restart"
    with pytest.raises(BadInput, match=sentence):
        load_checkpoint(path, "datac.test_checkpoint/2")


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_a_checkpoint_of_another_datac_is_refused(tmp_path: Path, version: str | None) -> None:
    path = tmp_path / "checkpoint.pt"
    written = {**content(1.0), **({} if version is None else {"datac": version})}
    torch.save(written, path)
    made = version or "of an unknown version"
    with pytest.raises(BadInput, match=f"made by datac {made} .*, this is {__version__} "):
        load_checkpoint(path, SCHEMA)


@pytest.mark.parametrize(
    ("asked", "named"),
    [({"seed": 1, "draws": 4}, "seed 0, not 1"), ({"seed": 0}, "draws 4, not without it")],
)
def test_the_option_that_differs_is_named(asked: dict[str, int], named: str) -> None:
    saved = {"seed": 0, "draws": 4}
    check_same_options(saved, dict(saved), Path("c.pt"))
    with pytest.raises(BadInput, match=f"c.pt was made with {named}"):
        check_same_options(saved, asked, Path("c.pt"))


@pytest.mark.parametrize(
    ("saved", "asked", "how"),
    [
        ({}, {"--max-macs": 9}, "was made without --max-macs, not with 9; "),
        ({"--max-macs": 9}, {}, "was made with --max-macs 9, not without it; "),
    ],
)
def test_an_option_that_only_one_was_given(saved, asked, how) -> None:
    with pytest.raises(BadInput, match=f"c.pt {how}"):
        check_same_options(saved, asked, Path("c.pt"))


def test_the_random_state_comes_back() -> None:
    state = random_state()
    first = torch.rand(3)
    restore_random_state(state)
    assert torch.equal(torch.rand(3), first)


def test_one_interrupt_asks_and_a_second_one_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruption() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
