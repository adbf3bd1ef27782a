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


def test_what_is_no_onnx_by_its_name_is_not_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["compile", "data-m4", "--channels", "4", "--cells", "3", "--emit-only", "--out"]
    (tmp_path / "precious.json").write_text("mine")
    assert run([*words, "precious.json"]) == 2
    assert "precious.json is there already, and by its name no ONNX" in capsys.readouterr().err
    assert (tmp_path / "precious.json").read_text() == "mine"
    (tmp_path / "model.onnx").write_text("an older one")
    assert run([*words, "model.onnx"]) == 0
    onnx.checker.check_model(onnx.load("model.onnx"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--emit-only", "--target", "onnx"], "builds no engine; leave out --target"),
        (["--emit-only", "--tune"], "builds no engine; leave out --tune"),
        (["--emit-only", "--device", "cuda"], "builds no engine; leave out --device"),
        (["--emit-only", "--threads", "1"], "builds no engine; leave out --threads"),
        (["--target", "onnx", "--tune-seconds", "3"], "--tune-seconds is for --tune"),
        (["--target", "onnx", "--keep", "stem"], "--keep is for engines in int8"),
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
