"""Latency from runners whose times are scripted: nothing here depends on a clock."""

from itertools import cycle, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.measure import FEWEST_ROUNDS, MOST_CALLS, measure, relative_spread

INPUTS = {"input": np.zeros((4, 3, 8, 8), np.float32)}


class Scripted:
    """Its calls take the times of the script, over and over; the journal says who was called."""

    def __init__(self, times, journal=None, transfer=None, device="cpu", threads=2):
        self.times, self.journal, self.transfer = cycle(times), journal, transfer
        self.device, self.threads = device, threads
        self.calls = 0

    def time_call(self, inputs):
        self.calls += 1
        if self.journal is not None:
            self.journal.append(self)
        return next(self.times), self.transfer


def visits(journal):
    """The journal without repetitions: who came after whom."""
    return [
        one for one, before in zip(journal, [None, *journal], strict=False) if one is not before
    ]


def test_constant_times_are_conclusive():
    (latency,) = measure({"a": Scripted([2.0])}, INPUTS, budget_seconds=1.0).values()
    assert (latency.median, latency.p90, latency.p99, latency.spread) == (2.0, 2.0, 2.0, 0.0)
    assert latency.conclusive
    assert (latency.batch, latency.threads, latency.device) == (4, 2, "cpu")
    assert latency.transfer_median is None


def test_percentiles_are_over_all_calls():
    """1, 2, ..., 10 in equal number: numpy's percentiles of that population."""
    runner = Scripted([float(ms) for ms in range(1, 11)])
    (latency,) = measure({"a": runner}, INPUTS, budget_seconds=60.0).values()
    assert latency.median == pytest.approx(5.5, abs=0.5)
    assert latency.p90 == pytest.approx(9.0, abs=1.0)
    assert latency.p99 == 10.0
    assert latency.calls == latency.rounds * MOST_CALLS


def test_rounds_that_disagree_are_inconclusive():
    """Two of five rounds at twice the time."""
    script = [1.0] * 5 + [1.0, 1.0, 1.0] * 3 + [2.0, 2.0] * 2
    runner = Scripted(script)
    (latency,) = measure({"a": runner}, INPUTS, budget_seconds=0.015, rounds=5).values()
    assert runner.calls == len(script)
    assert latency.spread == pytest.approx(1.0)
    assert not latency.conclusive


def test_one_slow_round_does_not_make_it_inconclusive():
    script = [1.0] * 5 + [1.0, 1.0, 1.0] * 4 + [50.0, 50.0]
    (latency,) = measure({"a": Scripted(script)}, INPUTS, budget_seconds=0.015, rounds=5).values()
    assert latency.conclusive
    assert latency.p99 > 40


def test_the_first_call_of_a_visit_is_not_counted():
    """Each visit: one call of 2 ms, slowed by what the runner before it left, then one of 1 ms."""
    script = [1.0] * 5 + [2.0, 1.0] * 5
    runner = Scripted(script)
    (latency,) = measure({"a": runner}, INPUTS, budget_seconds=0.015, rounds=5).values()
    assert runner.calls == len(script)
    assert latency.p99 == 1.0


def test_rounds_interleave_all_runners_in_changing_order():
    journal = []
    runners = {name: Scripted([1.0], journal) for name in "abc"}
    measure(runners, INPUTS, budget_seconds=0.2)
    rounds = visits(journal[15:])
    assert {id(one) for one in journal[15:]} == {id(runner) for runner in runners.values()}
    names = {id(runner): name for name, runner in runners.items()}
    successors = {(names[id(a)], names[id(b)]) for a, b in pairwise(rounds)}
    assert len(successors) == 6


def test_the_same_seed_gives_the_same_order():
    orders = []
    for _ in range(2):
        journal = []
        runners = {name: Scripted([1.0], journal) for name in "abc"}
        names = {id(runner): name for name, runner in runners.items()}
        measure(runners, INPUTS, budget_seconds=0.2, seed=3)
        orders.append([names[id(one)] for one in journal])
    assert orders[0] == orders[1]


def test_a_fast_and_a_slow_runner_get_the_same_time():
    fast, slow = Scripted([1.0]), Scripted([10.0])
    latency = measure({"fast": fast, "slow": slow}, INPUTS, budget_seconds=3.0)
    assert latency["fast"].median == 1.0
    assert latency["slow"].median == 10.0
    assert fast.calls * 1.0 == pytest.approx(slow.calls * 10.0, rel=0.25)


def test_a_slow_runner_gets_fewer_rounds_but_never_fewer_than_five():
    (latency,) = measure({"a": Scripted([5000.0])}, INPUTS, budget_seconds=1.0).values()
    assert latency.rounds == latency.calls == FEWEST_ROUNDS


def test_transfers_are_shown_apart():
    runner = Scripted([3.0], transfer=0.5, device="cuda (a GPU)", threads=None)
    (latency,) = measure({"a": runner}, INPUTS, budget_seconds=0.5).values()
    assert latency.median == 3.0
    assert latency.transfer_median == 0.5
    assert (latency.device, latency.threads) == ("cuda (a GPU)", None)


def test_progress_is_told_once_a_round_and_ends_at_one():
    told = []
    measure(
        {"a": Scripted([1.0])},
        INPUTS,
        rounds=5,
        budget_seconds=0.1,
        progress=lambda what, share: told.append((what, share)),
    )
    assert [share for _, share in told] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert told[-1][0] == "latency, round 5 of 5"


def test_the_budget_holds_where_calls_get_slower_after_the_warm_up():
    runner = Scripted([1.0] * 5 + [4.0] * 100)
    measure({"a": runner}, INPUTS, budget_seconds=0.2, rounds=5)
    assert runner.calls * 4.0 < 1.5 * 200


def test_of_no_runners_there_is_no_latency():
    assert measure({}, INPUTS) == {}


@given(st.lists(st.floats(0.01, 1e4), min_size=5, max_size=30), st.floats(0.01, 100))
def test_the_spread_does_not_depend_on_the_unit(medians, factor):
    scaled = [factor * median for median in medians]
    assert relative_spread(scaled) == pytest.approx(relative_spread(medians), rel=1e-6, abs=1e-9)
    assert relative_spread(medians) >= 0
