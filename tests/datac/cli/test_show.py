"""`datac show`: the sizes and the sentences that scripts and people rely on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compiler.candidates import CANDIDATES
from compiler.text import parse_graph
from datac.cli import run
from datac.cli.show import show
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.published import NAMES, load


def text(*arguments: str, given: str | None = None) -> str:
    outcome = CliRunner().invoke(show, arguments, input=given, catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.output


def content(*arguments: str) -> Any:
    return json.loads(text(*arguments, "--json"))


def test_the_keys_and_the_golden_numbers_of_json() -> None:
    """Sizes: counted in the authors' own model, 3.436 M and 519 M."""
    found = content("data-m7")
    assert [*found] == ["hash", "parameters", "multiply_adds", "warnings", "genotype", "network"]
    assert found["parameters"] == 3_436_390
    assert found["multiply_adds"] == 519_318_144
    assert found["hash"] == load("data-m7").hash
    assert found["warnings"] == []
    assert Genotype.model_validate(found["genotype"]) == load("data-m7")
    assert Network.model_validate(found["network"]).skeleton == "cifar"


LINEAR = 16 * 36 * 10
"""Multiply-adds of the classifier: four nodes of 4 x 36 channels into ten classes."""


@pytest.mark.parametrize(
    ("options", "parameters", "multiply_adds"),
    [
        (["--network", "imagenet"], 5_082_304, 542_922_816),
        (["--input", "3x64x64"], 3_436_390, 4 * (519_318_144 - LINEAR) + LINEAR),
        (["--classes", "100"], 3_436_390 + 90 * (16 * 36 + 1), 519_318_144 + 9 * LINEAR),
    ],
)
def test_network_options_set_the_sizes(
    options: list[str], parameters: int, multiply_adds: int
) -> None:
    found = content("data-m7", *options)
    assert found["parameters"] == parameters
    assert found["multiply_adds"] == multiply_adds


@pytest.mark.parametrize("name", NAMES)
def test_every_published_cell_can_be_shown(name: str) -> None:
    shown = text(name, "--channels", "4", "--cells", "3")
    assert shown.startswith(f"{name}  {load(name).hash}\n")


def test_the_text_shows_every_node_and_the_sizes() -> None:
    shown = text("data-m7")
    assert "normal cell  output: nodes 2, 3, 4, 5\n" in shown
    assert "node 2 = skip_connect(0) + sep_conv_3x3(0) + skip_connect(1) + sep_conv" in shown
    assert "reduction cell  output: nodes 2, 3, 4, 5\n" in shown
    assert "sum of its paths" in shown
    assert "cifar: 36 channels, 20 cells, 10 classes, input 3x32x32" in shown
    assert "3,436,390" in shown
    assert "519,318,144" in shown
    assert "warning" not in shown
    assert max(map(len, shown.splitlines())) <= 100


def genotype_file(folder: Path, **changes: Any) -> Path:
    path = folder / "genotype.json"
    path.write_text(load("data-m4").model_copy(update=changes).to_json())
    return path


def test_a_file_carries_its_own_network_and_the_command_line_wins(tmp_path: Path) -> None:
    network = Network(skeleton="cifar", channels=8, cells=5, classes=3, input=(3, 24, 20))
    path = str(genotype_file(tmp_path, network=network))
    assert content(path)["network"]["channels"] == 8
    found = content(path, "--channels", "10")
    assert found["network"]["channels"] == 10
    assert found["network"]["cells"] == 5
    assert found["hash"] == load("data-m4").hash, "the network is no part of the hash"


def test_standard_input(tmp_path: Path) -> None:
    shown = text("-", given=genotype_file(tmp_path).read_text())
    assert shown.startswith(f"standard input  {load('data-m4').hash}\n")


def test_mean_aggregation_is_said(tmp_path: Path) -> None:
    assert "mean of its paths" in text(str(genotype_file(tmp_path, aggregation="mean")))


def test_a_dead_node_and_an_empty_one_are_shown_and_warned_of(tmp_path: Path) -> None:
    paths = [{"operation": "skip_connect", "input": 1}, {"operation": "dil_conv_3x3", "input": 0}]
    cell = {"nodes": [{"paths": paths}, {"paths": paths}, {"paths": []}], "output": [2]}
    path = tmp_path / "genotype.json"
    cells = {"normal": cell, "reduction": cell}
    path.write_text(json.dumps({"schema": "datac.genotype/1", "cells": cells}))
    found = content(str(path))
    assert len(found["warnings"]) == 2
    assert "normal cell: node 3 has paths" in found["warnings"][0]
    shown = text(str(path))
    assert "node 4 = no paths" in shown
    assert shown.count("warning: ") == 2


def test_cells_that_nobody_reads_are_counted_as_published_and_warned_of() -> None:
    found = content("darts-top3")
    assert found["parameters"] == 3_975_958
    assert "1,754,352 of the parameters and " in found["warnings"][0]


def test_the_graph_is_text_that_parses() -> None:
    found = content("data-m7", "--channels", "4", "--cells", "3", "--graph")
    assert parse_graph(found["graph"]).outputs == {"logits": "head/linear"}
    shown = text("data-m7", "--channels", "4", "--cells", "3", "--graph")
    assert shown.endswith(found["graph"])


def test_operations_are_listed_with_a_line_each() -> None:
    lines = text("--operations").splitlines()
    assert [line.split()[0] for line in lines] == [*CANDIDATES]
    assert all(len(line.split()) > 3 for line in lines)
    assert [*content("--operations")["operations"]] == [*CANDIDATES]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing to show"),
        (["nowhere.json"], "nowhere.json"),
        (["data-m7", "--operations"], "choose one"),
        (["data-m7", "--channels", "3"], "odd"),
        (["data-m7", "--input", "0x3x3"], "sizes from 1"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_an_unknown_operation_names_its_node_and_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = genotype_file(tmp_path)
    path.write_text(path.read_text().replace("sep_conv_3x3", "sepconv3x3"))
    assert run(["show", str(path)]) == 2
    error = capsys.readouterr().err
    assert 'normal cell, node 2: unknown operation "sepconv3x3"' in error
    assert 'Did you mean "sep_conv_3x3"?' in error


LISTED = """
import sys
from datac.cli import run
code = run(["show", "data-m7"])
print(sorted({name.partition(".")[0] for name in sys.modules}))
sys.exit(code)
"""


def test_it_imports_nothing_that_takes_long() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = done.stdout.splitlines()[-1]
    for heavy in ("torch", "numpy", "onnx", "rich", "safetensors", "PIL"):
        assert f"'{heavy}'" not in imported


def test_the_cost_of_the_parts_adds_up_to_the_whole() -> None:
    for level in ("cell", "node", "path"):
        found = content("data-m7", "--cost", level)
        parts = found["cost"]["parts"].values()
        assert sum(part["parameters"] for part in parts) == found["parameters"]
        assert sum(part["multiply_adds"] for part in parts) == found["multiply_adds"]
        assert sum(part["moved_bytes"] for part in parts) == found["cost"]["moved_bytes"]
    assert "peak memory" in text("data-m7", "--cost", "node")
