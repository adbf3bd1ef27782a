"""Intervals, correlation and gaps of numbers whose answers are known."""

import math

import pytest
from fidelity_statistics import correlation, difference, gaps_of, mean_absolute_gap, search_pairs
from made_up_runs import record


def test_the_interval_is_that_of_welch():
    # Means 2 and 7; variances 1 and 2.5; standard error sqrt(1/3 + 2.5/5); 5.87 degrees of freedom
    # (Welch-Satterthwaite), of which the 97.5 % point of t is 2.460.
    found = difference([1, 2, 3], [5, 6, 7, 8, 9])
    error = math.sqrt(1 / 3 + 2.5 / 5)
    assert found.mean == -5
    assert (found.low, found.high) == pytest.approx(
        (-5 - 2.460 * error, -5 + 2.460 * error), abs=2e-3
    )
    assert found.finding == "worse"


@pytest.mark.parametrize(
    ("ours", "finding"),
    [((0.60, 0.61, 0.62), "better"), ((0.49, 0.52, 0.51), "inconclusive")],
)
def test_a_difference_is_found_where_the_interval_leaves_out_0(ours, finding):
    assert difference(ours, (0.50, 0.51, 0.52)).finding == finding


@pytest.mark.parametrize(("ours", "theirs"), [((1.0,), (1.0, 2.0)), ((1.0, 1.0), (2.0, 2.0))])
def test_there_is_no_interval_without_spread(ours, theirs):
    assert difference(ours, theirs) is None


def test_tau_is_1_where_the_order_is_the_same_and_says_how_likely_that_is_by_chance():
    found = correlation([(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)])
    assert found.tau == pytest.approx(1)
    assert found.p == pytest.approx(2 / math.factorial(5))
    assert found.pairs == 5


@pytest.mark.parametrize("pairs", [[(n, n) for n in range(4)], [(1, n) for n in range(8)]])
def test_few_pairs_or_a_constant_have_no_tau(pairs):
    assert correlation(pairs) is None


def test_a_supernet_at_chance_has_no_gap():
    runs = [
        record(supernet=0.5, child=0.3),
        record(supernet=0.5, child=0.6),
        record(supernet=0.12, child=0.1),
        record("fastscnn"),
    ]
    assert gaps_of(runs) == pytest.approx([0.2, -0.1])
    assert mean_absolute_gap(runs) == pytest.approx(0.15)
    assert mean_absolute_gap(runs[2:]) is None


def test_pairs_are_of_runs_that_have_both_metrics():
    runs = [record(metric=0.7, derived=0.4), record("fastscnn")]
    assert search_pairs(runs, "derived") == [(0.4, 0.7)]
    assert search_pairs(runs, "sampled") == [(pytest.approx(0.5), 0.7)]
