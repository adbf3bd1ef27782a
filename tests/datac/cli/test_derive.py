"""The command on a tiny search."""

import json
import shutil
from pathlib import Path

import pytest

from datac.cli import run
from datac.documents.derivation import Derivation
from datac.documents.read import read_genotype, read_json
from datac.exit_codes import ExitCode

SMALL = ["--channels", "2", "--cells", "3", "--crop", "8", "--batch-size", "64", "--epochs", "2"]


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = run(["search", "--task", "classification", "--device", "cpu", *SMALL])
    assert code == ExitCode.PASS
    return folder / "run"


@pytest.fixture
def here(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that one stands in; the run is a copy, called `run`."""
    shutil.copytree(searched, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_how_sure_the_search_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["derive", "run"]) == ExitCode.PASS
    said = capsys.readouterr().out
    assert said.startswith("NOT DECIDED ")  # two epochs are too few, whatever they found
    assert "- normal cell, node 2: the logits are where chance alone would have led them" in said
    assert "reduction 5" in said
    assert "wrote 5 genotypes and derivation.json to run/top" in said
    names = {path.name for path in (here / "run/top").iterdir()}
    assert names == {
        ".datac.json",
        "derivation.json",
        *(f"genotype-{number}.json" for number in range(1, 6)),
    }
    first = read_genotype("run/top/genotype-1.json")
    own = read_genotype("run/genotype.json")
    assert (first.cells, first.network) == (own.cells, own.network)


def test_the_document_is_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["derive", "run", "--json", "--top", "1", "--out", "one"]) == ExitCode.PASS
    printed = capsys.readouterr().out
    document = read_json(Path("one/derivation.json"), Derivation)
    assert json.loads(printed) == json.loads(document.to_json())
    assert len(document.entropy) == 2
    assert not (here / "run/top").exists()


def test_another_search_takes_its_place_and_a_genotype_compiles(here: Path) -> None:
    """What was derived belongs to the search: a new one replaces it with the rest of RUN."""
    assert run(["derive", "run", "--top", "2"]) == ExitCode.PASS
    assert run(["show", "run/top/genotype-2.json"]) == ExitCode.PASS
    assert run(["search", "--task", "classification", "--device", "cpu", *SMALL]) == ExitCode.PASS
    assert not (here / "run/top").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run", "--top", "0"], "--top"),
        (["run", "--top", "1001"], "--top"),
        (["nowhere"], "nowhere is not the folder of a search"),
        (["run/search_result.json"], "is a file"),
        (["run", "--out", "run"], "holds a run, not a derivation"),
        (["run", "--out", "."], "the folder that you are in"),
        ([], "RUN"),
    ],
)
def test_bad_input_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    before = sorted(here.rglob("*"))
    assert run(["derive", *arguments]) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1
    assert sorted(here.rglob("*")) == before
