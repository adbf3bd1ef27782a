"""`datac compile --emit-only`: one checked file, and nothing else."""

import onnx
import pytest

from datac.cli import run


def test_one_file_with_every_path_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["compile", "data-m4", "--channels", "4", "--cells", "3", "--emit-only"]
    assert run(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(onnx.load("model.onnx"), full_check=True)
    said = capsys.readouterr().out
    assert said.startswith("model.onnx: ")
    assert "paths in" in said
    first = (tmp_path / "model.onnx").read_bytes()
    assert run([*words, "--out", "other.onnx"]) == 0
    assert (tmp_path / "other.onnx").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--emit-only", "--target", "onnx"], "builds no engine; leave out --target"),
        ([], "no --target was given"),
        (["--emit-only", "--out", "."], "is a folder; name the file to write"),
        (["--emit-only", "--out", "none/here/model.onnx"], "cannot be written"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    assert run(["compile", "data-m4", "--channels", "4", "--cells", "3", *words]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
