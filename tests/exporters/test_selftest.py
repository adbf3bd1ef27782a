"""What a machine makes of the published cells: one file, that goes on where it stopped."""

from pathlib import Path

import pytest

from datac.cli.selftest import NETWORKS
from datac.documents.read import read_json
from datac.documents.selftest import SelfTest
from datac.errors import BadInput, PlatformMissing
from exporters import selftest as module
from exporters.selftest import Course, selftest, verdict

TINY = {
    "cifar": {"channels": 4, "cells": 3, "classes": 5, "input": (3, 16, 16)},
    "segmentation": {
        "channels": 4,
        "cells": 3,
        "classes": 6,
        "head_channels": 4,
        "input": (3, 32, 32),
    },
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(module, "SMALL", TINY)
    monkeypatch.setattr(module, "BATCHES", (1, 3))


def test_the_command_knows_the_networks():
    assert set(NETWORKS) == set(module.SMALL)


def course(*targets):
    return Course(("gdas-v1",), targets or ("onnx", "trt"), ("f32", "int8"), seconds=0.05)


def test_every_engine_is_judged_timed_and_measured_and_what_is_missing_is_said():
    saved = []
    found = selftest(course(), save=saved.append)
    assert [len({t.network for t in state.tested}) for state in saved] == [1, 2]
    assert saved[-1] == found
    by_engine = {(t.network, t.result.target, t.result.precision): t for t in found.tested}
    for network in TINY:
        for precision in ("f32", "int8"):
            tested = by_engine[network, "onnx", precision]
            assert (tested.result.status, tested.result.verdict) == ("run", "pass")
            assert tested.result.latency_ms.rounds >= 5
            assert [t.batch for t in tested.throughput] == [1, 3]
            for t in tested.throughput:
                assert t.per_second == pytest.approx(t.batch / t.milliseconds * 1e3)
                assert t.memory_bytes >= 0
        missing = by_engine[network, "trt", "f32"]
        if missing.result.status == "missing":
            assert "TensorRT" in missing.result.reason
            assert missing.throughput == ()
    assert verdict(found) == "pass"
    assert SelfTest.model_validate_json(found.to_json()) == found
    # What the file holds is not tried again on this machine, and is on another.
    assert selftest(course(), known=found).tested == found.tested
    other = found.model_copy(update={"gpu": "another"})
    assert module._begin(course(), other).tested == ()
    assert module._begin(course("onnx"), found).tested == (), "fewer targets were asked for then"
    wider = Course(("gdas-v1",), ("onnx", "trt"), ("f32", "f16", "int8"))
    assert module._begin(wider, found).tested == (), "fewer precisions were asked for then"
    assert module._begin(course(), found).tested == found.tested


def test_the_verdict_is_that_of_the_worst_engine_and_nothing_run_is_no_pass():
    golden = Path(__file__).parents[1] / "golden" / "documents" / "selftest-1.json"
    found = read_json(golden, SelfTest)
    (tested,) = found.tested

    def of(*verdicts):
        results = [tested.result.model_copy(update={"verdict": v}) for v in verdicts]
        engines = tuple(tested.model_copy(update={"result": r}) for r in results)
        return verdict(found.model_copy(update={"tested": engines}))

    assert of("pass", None, "pass") == "pass"
    assert of("pass", "fail") == "fail"
    assert of(None) == of() == "inconclusive"


def test_a_gpu_that_does_not_answer_is_said_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(module, "why_no_gpu", lambda: "the NVIDIA driver sees no GPU")
    with pytest.raises(PlatformMissing, match="sees no GPU; leave --gpu out"):
        selftest(Course(("gdas-v1",), gpu=True))


@pytest.mark.parametrize(
    ("cells", "targets", "said"),
    [(("nowhere",), (), "not a published cell"), (("gdas-v1",), ("onx",), "did you mean")],
)
def test_a_slip_of_the_hand_is_said_before_anything_is_built(cells, targets, said):
    with pytest.raises(BadInput, match=said):
        selftest(Course(cells, targets))
