"""The predicted rounding of a sum, held against float32 sums in the orders that kernels have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.graph import Graph
from compiler.lower import INPUT
from compiler.ops import BatchNorm, Conv, Input
from exporters.places import TOLERATED, judge_places
from exporters.rounding import ARITHMETIC, Noise


def pointwise(x, weight, bias, *, bias_first):
    """(N, K, H, W) → (N, C, H, W): one product after the other in float32, the bias at an end."""
    start = bias if bias_first else np.zeros_like(bias)
    total = np.broadcast_to(start.reshape(1, -1, 1, 1), (len(x), len(bias), *x.shape[2:])).copy()
    for k in range(x.shape[1]):
        total += weight[:, k].reshape(1, -1, 1, 1) * x[:, k : k + 1]
    return total if bias_first else total + bias.reshape(1, -1, 1, 1)


@pytest.mark.parametrize("bias_first", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(4, 96),
    ratio=st.sampled_from([0.0, 0.1, 1.0, 10.0, 1e3]),
    positive=st.booleans(),
)
def test_a_bias_may_be_added_first_or_last(bias_first, seed, k, ratio, positive):
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((2, k, 12, 12)).astype(np.float32)
    x = np.abs(x) if positive else x
    weight = draw.standard_normal((8, k, 1, 1)).astype(np.float32)
    bias = (ratio * np.sqrt(k) * draw.standard_normal(8)).astype(np.float32)
    graph = Graph()
    graph.add(INPUT, Input(("N", k, 12, 12)))
    name = graph.add("conv", Conv(k, 8, bias=True), INPUT)
    graph.set_output("logits", name)
    conv = graph[name]
    graph.weights = {conv.weight_name("weight"): weight, conv.weight_name("bias"): bias}
    found = pointwise(x, weight[:, :, 0, 0], bias, bias_first=bias_first)
    (error,) = judge_places(graph, {INPUT: x, name: found}, ARITHMETIC["f32"])
    assert error.ratio < TOLERATED
    if bias_first:
        assert error.ratio > 0.2  # nor is everything allowed


def norm_noise(mean, x, *, beside, samples):
    """(runs, samples, C): the mean error over a map, and the RMS of what is left."""
    channels = len(mean)
    op = BatchNorm(channels)
    weights = {
        "weight": np.full(channels, 2.0),
        "bias": np.zeros(channels),
        "running_mean": mean,
        "running_var": np.full(channels, 0.25),
    }
    graph = Graph()
    graph.add(INPUT, Input(("N", channels, *x.shape)))
    node = graph[graph.add("norm", op, INPUT)]
    batch = np.broadcast_to(x, (beside * samples, channels, *x.shape)).copy()
    exact = op.compute(weights, batch)
    noise = Noise(ARITHMETIC["f32"], seed=0, beside=beside)
    error = (noise(node, weights, (batch,), exact) - exact) * noise.scale * 2.0**24
    by_run = error.reshape(beside, samples, channels, -1)
    return by_run.mean(-1), by_run.std(-1)


@pytest.mark.parametrize("mean", [0.0, 1.0, 100.0])
def test_a_norms_scale_and_shift_err_alike_in_a_channel(mean):
    x = np.full((32, 32), 3.0)
    means, spread = norm_noise(np.full(500, mean), x, beside=3, samples=2)
    scale = 4.0
    # Each rounding is off by u / √3: four in the scale, one of them halved; one in each of the
    # shift's product and difference, here of one size; and for each value its product and sum.
    shared = np.hypot(abs(3 - mean) * 3.25**0.5, mean * 2**0.5) * scale / 3**0.5
    own = (3 + abs(3 - mean)) * scale / 3**0.5
    assert np.sqrt(np.mean(means**2)) == pytest.approx(shared, rel=0.1)
    assert np.sqrt(np.mean(spread**2)) == pytest.approx(own, rel=0.05)
    one, other = means[:, 0], means[:, 1]
    assert np.abs(one - other).max() < 8 * own / 32  # samples of a run, but for their own rounding
    assert np.corrcoef(one)[0, 1] == pytest.approx(0, abs=0.2)  # one run, another
