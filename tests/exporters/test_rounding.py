"""The predicted rounding of a sum, held against float32 sums in the orders that kernels have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.graph import Graph
from compiler.lower import INPUT
from compiler.ops import Conv, Input
from exporters.places import TOLERATED, judge_places
from exporters.rounding import ARITHMETIC


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
