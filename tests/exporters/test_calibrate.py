"""Which range is held: extremes, percentiles, entropy; and the steps made of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.graph import Graph
from compiler.interpreter import Interpreter
from compiler.ops import Conv, Input
from compiler.quantise import Scheme, per_channel, quantised, quantize
from exporters.calibrate import Histogram, least_divergent


def histogram(values):
    found = Histogram()
    found.reach(values)
    found.add(values)
    return found


def normal(outlier=None, count=200_000):
    values = np.random.default_rng(0).standard_normal(count)
    return values if outlier is None else np.append(values, outlier)


def test_min_max_holds_everything():
    assert histogram(normal(50.0)).range("min-max") == (pytest.approx(normal().min()), 50.0)


def test_percentile_leaves_an_outlier_out_and_keeps_99_99_percent():
    values = normal(50.0)
    low, high = histogram(values).range("percentile")
    assert 3.5 < high < 4.6
    assert ((values < low) | (values > high)).mean() <= 1e-4


def test_entropy_leaves_an_outlier_out_and_is_not_moved_by_zeros():
    values = np.abs(normal(50.0))
    _, high = histogram(values).range("entropy")
    assert 2.5 < high < 6
    with_zeros = np.append(values, np.zeros(10 * len(values)))
    assert histogram(with_zeros).range("entropy")[1] == pytest.approx(high, rel=0.15)


def test_entropy_keeps_all_of_what_has_no_tail():
    values = np.random.default_rng(0).uniform(0, 1, 200_000)
    assert histogram(values).range("entropy")[1] == pytest.approx(1.0, abs=0.05)
    assert least_divergent(np.ones(2048)) == 2048


@pytest.mark.parametrize("method", ["min-max", "percentile", "entropy"])
def test_a_value_that_is_always_zero_has_a_range(method):
    assert histogram(np.zeros(10)).range(method) == (0.0, 0.0)
    assert quantize((0.0, 0.0), "uint8").compute({}, np.zeros(3)).tolist() == [0, 0, 0]


RANGES = st.tuples(st.floats(-1e4, 0), st.floats(0, 1e4)).filter(lambda r: r[1] - r[0] > 1e-3)


@given(RANGES, st.sampled_from(["uint8", "int8"]))
def test_within_its_range_a_value_is_off_by_half_a_step_and_zero_is_exact(reach, dtype):
    op = quantize(reach, dtype)
    values = np.linspace(*reach, 1001)
    off = np.abs(op.compute({}, values) - values)
    # The zero point is a whole number, so an end may lie half a step outside.
    assert off.max() <= op.scale * (1 + 1e-6)
    assert np.median(off) <= op.scale / 2
    assert op.compute({}, np.zeros(1))[0] == 0
    assert len(np.unique(op.compute({}, values * 10))) <= 256


@given(st.integers(0, 2**31 - 1), st.floats(1e-6, 1e3))
def test_weights_are_off_by_half_a_step_of_their_own_channel(seed, size):
    draw = np.random.default_rng(seed)
    weight = (draw.standard_normal((5, 3, 2, 2)) * size).astype(np.float32)
    weight[1] *= 1e-3
    weight[2] = 0
    scale, integers = per_channel(weight)
    wide = scale.astype(np.float64).reshape(-1, 1, 1, 1)
    assert (np.abs(integers * wide - weight) <= wide * 0.5001).all()
    assert np.abs(integers).max() == 127
    assert not integers[2].any()


def test_values_that_are_not_finite_have_no_range_and_tiny_ones_no_histogram():
    for value in (np.inf, np.nan):
        with pytest.raises(ValueError, match="not finite"):
            Histogram().reach(np.array([0.0, value]))
    assert histogram(np.array([0.0, 1e-42])).range("entropy") == (0.0, 1e-42)


def test_the_bias_of_a_channel_without_weights_is_held():
    """A path that training has nearly switched off: its scale may not be as fine as its weights."""
    graph = Graph()
    graph.add("input", Input(("N", 1, 4, 4)))
    graph.add("conv", Conv(1, 3, bias=True), "input")
    graph.set_output("y", "conv")
    graph.weights = {
        "conv.weight": np.array([1.0, 1e-9, 0.0], np.float32).reshape(3, 1, 1, 1),
        "conv.bias": np.array([0.5, 0.5, -2.0], np.float32),
    }
    x = np.full((1, 1, 4, 4), 0.7)
    exact = Interpreter(graph).run({"input": x})["y"]
    small = quantised(graph, ["conv"], {"input": (0, 1), "conv": (-3, 3)}, Scheme())
    found = Interpreter(small).run({"input": x})["y"]
    np.testing.assert_allclose(found, exact, atol=0.02)
