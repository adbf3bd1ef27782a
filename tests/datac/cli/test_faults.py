"""`datac faults` and `datac reduce`: what they print, and their exit codes."""

import json

import pytest

from datac.cli import run
from exporters.faults import judges, trial

TINY = ("--channels", "4", "--cells", "3", "--input", "3x16x16", "--precision", "f32")


@pytest.fixture
def two_faults(monkeypatch):
    """Of the table these alone, so that it takes seconds."""
    monkeypatch.setattr(
        trial,
        "FAULTS",
        {name: trial.FAULTS[name] for name in ("stale weight", "path missing")},
    )


def test_a_gate_that_catches_everything_passes(two_faults, capsys):
    assert run(["faults", "data-m4", *TINY]) == 0
    out = capsys.readouterr().out
    together = next(line for line in out.splitlines() if " together " in line)
    assert " ".join(together.split()) == "f32 together 2 / 2 0 / 8 2 / 2 2 / 2"


def test_json_is_a_line_for_each_run(two_faults, capsys):
    assert run(["faults", "data-m4", *TINY, "--json"]) == 0
    runs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["fault"] for r in runs[-2:]] == ["stale weight", "path missing"]
    assert all(r["change"] > 0 for r in runs[-2:])


def test_a_gate_that_misses_or_cries_wolf_fails(two_faults, monkeypatch, capsys):
    deaf = judges.Opinion(alarm=False)
    monkeypatch.setattr(judges, "opinions", lambda *_: {"together": deaf})
    assert run(["faults", "data-m4", *TINY]) == 1
    assert "missed: stale weight at " in capsys.readouterr().out
    monkeypatch.setattr(judges, "opinions", lambda *_: {"together": judges.Opinion(True)})
    assert run(["faults", "data-m4", *TINY]) == 1
    assert "false alarm: ONNX Runtime" in capsys.readouterr().out


def test_a_place_is_cut_out(build, capsys):
    assert run(["reduce", "build", "--place", "cell0/node2", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "is right, as it is in the engine" in out
    assert "wrote reduced" in out
    assert run(["reduce", "build", "--threads", "1", "--out", "other"]) == 2
    assert "name one by --place" in capsys.readouterr().err
