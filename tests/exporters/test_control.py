"""An engine below float32 against its control: significance, what it costs, the verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datac.documents.report import Latency, Metric, TargetResult
from exporters.control import compare_with_controls, interval, speedups


def latency(*medians):
    return Latency(
        median=medians[0],
        p90=1.0,
        p99=1.0,
        spread=0.0,
        conclusive=True,
        rounds=len(medians),
        round_medians=medians,
        calls=1,
        batch=1,
        device="cpu",
    )


def result(precision, medians=None, value=None, target="onnx", **others):
    return TargetResult(
        target=target,
        precision=precision,
        status="run",
        verdict="pass",
        latency_ms=None if medians is None else latency(*medians),
        metric=None if value is None else metric(value),
        **others,
    )


def metric(value):
    return Metric(name="miou", value=value, samples=1, per_class={"sky": value, "car": 0.5})


def compared(control, engine, bound=0.01):
    return compare_with_controls([control, engine], bound)[1]


STEADY, HALF, SAME = (10.0,) * 7, (5.0,) * 7, (9.0, 11.0, 10.5, 9.5, 10.0, 10.2, 9.8)


def test_faster_beyond_the_noise_within_the_bound_is_better():
    found = compared(result("f32", STEADY, 0.5), result("int8", HALF, 0.495)).comparison
    assert (found.outcome, found.speedup, found.speedup_low) == ("better", 2.0, 2.0)
    assert found.drop == pytest.approx(0.005)
    assert found.class_drops == {"sky": pytest.approx(0.005), "car": 0.0}


@pytest.mark.parametrize(
    ("medians", "value", "outcome"),
    [
        (SAME, 0.5, "not faster"),
        ((20.0,) * 7, 0.5, "not faster"),
        (HALF, 0.48, "too much lost"),
        (HALF, math.nan, "too much lost"),
        (HALF, None, "not measured"),
        (None, 0.5, "not measured"),
    ],
)
def test_anything_else_is_not(medians, value, outcome):
    found = compared(result("f32", STEADY, 0.5), result("int8", medians, value))
    assert found.comparison.outcome == outcome
    assert (found.verdict == "fail") == (outcome == "too much lost")


def test_what_falls_too_far_fails_for_good_and_says_why_first_things_first():
    before = result("int8", HALF, 0.4, reason="it was wrong already").model_copy(
        update={"verdict": "fail"}
    )
    found = compared(result("f32", STEADY, 0.5), before)
    assert found.reason.startswith("it was wrong already; its metric is 0.1000 below that of onnx")
    assert len(found.defects) == 1


def test_controls_are_of_the_same_target_and_tensorrts_is_f16():
    results = [
        result("f32", STEADY, 0.5, "trt"),
        result("f16", HALF, 0.5, "trt"),
        result("int8", HALF, 0.5, "trt"),
        result("int8", HALF, 0.5, "onnx"),
    ]
    found = compare_with_controls(results)
    assert [r.comparison and r.comparison.control for r in found] == [
        None,
        "trt f32",
        "trt f16",
        None,
    ]


def test_rounds_of_different_runs_are_not_compared():
    assert speedups(latency(1.0, 1.0), latency(1.0, 1.0, 1.0)) == []
    assert speedups(latency(0.0, 1.0), latency(1.0, 3.0)) == [3.0]


def test_the_interval_is_that_of_order_statistics():
    """n = 15: the 4th smallest and the 4th largest hold the median in 96.5 % (Conover, A3)."""
    assert interval([float(v) for v in range(1, 16)]) == (4.0, 8.0, 12.0)
    assert interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (1.0, 3.5, 6.0)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=40))
def test_the_median_lies_within(values):
    low, middle, high = interval(values)
    assert min(values) <= low <= middle <= high <= max(values)


def test_too_few_rounds_say_nothing():
    found = compared(result("f32", (10.0,) * 5, 0.5), result("int8", (5.0,) * 5, 0.5))
    assert (found.comparison.outcome, found.comparison.speedup) == ("not measured", None)


@pytest.mark.parametrize(
    "change", [{"device": "cuda"}, {"embedded": ("argmax",)}, {"status": "built"}]
)
def test_a_control_that_does_other_work_is_none_and_torch_bounds_the_drop(change):
    control = result("f32", STEADY, 0.5).model_copy(update=change)
    low, good = result("int8", HALF, 0.4), result("int8", HALF, 0.499)
    for engine, verdict in ((low, "fail"), (good, "pass")):
        found = compare_with_controls([control, engine], 0.01, metric(0.5))[1]
        assert found.comparison is None
        assert found.verdict == verdict
    assert compare_with_controls([control, low], 0.01)[1].verdict == "pass", "nothing is known"
