"""The smallest move against brute force: every logit, both directions, many distances."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.derive import choose, node_distribution
from searcher.gumbel import Layout
from searcher.smallest_move import FARTHEST, certain_room, smallest_move, softmax

CANDIDATES = ("none", "skip_connect", "sep_conv_3x3")
NARROW = Layout(("skip_connect",), 1)  # two paths of one node


def choice(layout, node, logits, draws):
    return choose(node, softmax(logits, layout), layout, draws).paths


def moved(logits, column, by):
    result = logits.copy()
    result[column.group, column.index] += by
    return result


cases = given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.sampled_from(["node", "edge"]),
    st.sampled_from([2, 3]),
    st.sampled_from([CANDIDATES, CANDIDATES[1:]]),
    st.sampled_from([0.05, 0.5, 2.0]),
)


@settings(deadline=None, max_examples=25)
@cases
def test_nothing_changes_before_it_and_the_choice_does_there(
    seed, draws, granularity, node, candidates, spread
):
    layout = Layout(candidates, 2, granularity)
    logits = spread * np.random.default_rng(seed).standard_normal(layout.shape)
    before = choice(layout, node, logits, draws)
    move = smallest_move(node, logits, layout, draws)
    reach = FARTHEST if move is None else abs(move.by)
    # Away from the place itself, which is known to 1e-9.
    distances = np.linspace(0, max(reach - 1e-6, 0.0), 60)
    for column in layout.of_node(node):
        for distance in distances:
            for by in (distance, -distance):
                assert choice(layout, node, moved(logits, column, by), draws) == before
    if move is not None:
        after = moved(logits, move.column, move.by + math.copysign(1e-8, move.by))
        assert choice(layout, node, after, draws) != before


@settings(deadline=None, max_examples=60)
@cases
def test_a_room_is_never_too_large(seed, draws, granularity, node, candidates, spread):
    """Also where the way between is not looked at: any logit, as far as is said."""
    layout = Layout(candidates, 2, granularity)
    random = np.random.default_rng(seed)
    logits = spread * random.standard_normal(layout.shape)
    before = choice(layout, node, logits, draws)
    paths = [(path.operation, path.input) for path in before]
    chosen = [i for i, c in enumerate(layout.paths(node)) if (c.operation, c.input) in paths]
    none, p = node_distribution(node, softmax(logits, layout), layout)
    room = min(certain_room(none, p, chosen, draws), 50.0)
    for column in layout.of_node(node):
        for by in (room * 0.999, -room * 0.999, room * random.uniform(-1, 1)):
            assert choice(layout, node, moved(logits, column, by), draws) == before


@pytest.mark.parametrize("lead", [0.25, 1.0, 3.0])
def test_of_one_draw_the_lead_is_the_move(lead):
    """M = 1 takes the larger of two logits: both moves, down and up, are as long as the lead."""
    move = smallest_move(2, np.array([[lead, 0.0]]), NARROW, 1)
    assert abs(move.by) == pytest.approx(lead, abs=1e-8)
    assert (move.column.input == 0) == (move.by < 0)


def test_golden_of_two_draws():
    """M = 2, two paths: one is kept alone if p² > 2 p (1 - p), p > 2/3, a lead of log 2."""
    move = smallest_move(2, np.array([[1.0, 0.0]]), NARROW, 2)
    assert abs(move.by) == pytest.approx(1 - math.log(2), abs=1e-8)


def test_none_alone_that_names_the_best_path():
    """None is far ahead, so the node gets its best path; which one, a small move decides."""
    layout = Layout(("none", "skip_connect"), 1)
    move = smallest_move(2, np.array([[5.0, 0.1, 0.0]]), layout, 4)
    assert abs(move.by) == pytest.approx(0.1, abs=1e-8)
    assert move.column.operation == "skip_connect"


def test_a_tie_needs_next_to_no_move():
    move = smallest_move(2, np.zeros((1, 2)), NARROW, 1)
    assert abs(move.by) < 1e-8


@pytest.mark.parametrize("draws", [1, 4])
def test_too_clear_a_choice_has_none(draws):
    assert smallest_move(2, np.array([[60.0, 0.0]]), NARROW, draws) is None
