"""`datac faults` and `datac reduce`: what they print, and their exit codes."""

import json

import pytest

from datac.cli import run
from exporters import canonical
from exporters.faults import judges, trial
from exporters.faults.observe import Subject
from exporters.faults.runtimes import HEALTHY, MAIN
from exporters.targets.target import TargetFailed

TINY = (
    *("--channels", "4", "--cells", "3", "--input", "3x16x16", "--precision", "f32"),
    *("--fault", "stale weight", "--fault", "path missing"),
)


@pytest.fixture
def one_way(monkeypatch):
    """To run what is healthy."""
    monkeypatch.setattr(trial, "HEALTHY", {MAIN["f32"]: HEALTHY[MAIN["f32"]]})


def test_a_gate_that_catches_everything_passes(capsys):
    assert run(["faults", "data-m4", *TINY]) == 0
    out = capsys.readouterr().out
    together = next(line for line in out.splitlines() if " together " in line)
    ways = sum(way.precision == "f32" and way.missing() is None for way in HEALTHY.values())
    assert " ".join(together.split()) == f"f32 together 2 / 2 0 / {ways} 2 / 2 2 / 2"


def test_json_is_a_line_for_each_run(one_way, capsys):
    assert run(["faults", "data-m4", *TINY, "--json"]) == 0
    runs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["fault"] for r in runs[-2:]] == ["stale weight", "path missing"]
    assert all(r["change"] > 0 for r in runs[-2:])


def test_the_weights_may_be_a_childs_folder(one_way, build, monkeypatch, capsys):
    given = []
    bound_graph = canonical.bound_graph

    def bound(genotype, network, weights, source):
        given.append(source)
        return bound_graph(genotype, network, weights, source)

    monkeypatch.setattr(canonical, "bound_graph", bound)
    words = ["--weights", "build", "--precision", "f32", "--fault", "stale weight"]
    assert run(["faults", "build/genotype.json", *words]) == 0
    assert given == ["build/weights.safetensors"]
    assert run(["faults", "data-m7", *words]) == 2
    assert "give build/genotype.json as the genotype" in capsys.readouterr().err


def test_a_gate_that_misses_or_cries_wolf_fails(one_way, monkeypatch, capsys):
    deaf = judges.Opinion(alarm=False)
    monkeypatch.setattr(judges, "opinions", lambda *_: {"together": deaf})
    assert run(["faults", "data-m4", *TINY]) == 1
    assert "missed: stale weight at " in capsys.readouterr().out
    monkeypatch.setattr(judges, "opinions", lambda *_: {"together": judges.Opinion(True)})
    assert run(["faults", "data-m4", *TINY]) == 1
    assert "false alarm: ONNX Runtime" in capsys.readouterr().out


def test_a_fault_that_nobody_knows_is_named_before_anything_runs(capsys):
    assert run(["faults", "data-m4", *TINY, "--fault", "stale wight"]) == 2
    assert 'no fault "stale wight". Did you mean "stale weight"?' in capsys.readouterr().err
    assert run(["faults", "data-m4", *TINY, "--fault", "?"]) == 2
    assert "the faults are stale weight, " in capsys.readouterr().err


def test_a_fault_that_could_not_be_tried_is_no_pass(one_way, capsys):
    words = ["faults", "data-m4", *TINY[:6], "--precision", "f16", "--fault", "float16 weights"]
    assert run(words) == 2
    assert 'the fault "float16 weights" has no place' in capsys.readouterr().err


def test_a_fault_alone_is_where_it_is_among_all(one_way, monkeypatch, capsys):
    """So that one that was missed can be tried again."""
    tried = {}

    def damaged(self, variation, name, damage):
        tried.setdefault(name, []).append(damage.place)
        raise TargetFailed("only the place is asked for")

    monkeypatch.setattr(Subject, "damaged", damaged)
    without = TINY[: TINY.index("--fault")]
    assert run(["faults", "data-m4", *without]) == 0
    assert len(tried) > 30
    # Of a fault that no engine could be built with, nothing can be said.
    assert run(["faults", "data-m4", *without, "--fault", "path missing"]) == 2
    first, second = tried["path missing"]
    assert first == second


def test_a_place_is_cut_out(build, capsys):
    assert run(["reduce", "build", "--place", "cell0/node2", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "is right, as it is in the engine" in out
    assert "wrote reduced" in out
    assert run(["reduce", "build", "--threads", "1", "--out", "other"]) == 2
    assert "name one by --place" in capsys.readouterr().err
