"""The order of children against brute force over all sets, and over all pairs of cells."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.children import Child, most_probable, ranked_children
from searcher.gumbel import set_probability

weights = st.lists(st.integers(0, 1000), min_size=2, max_size=8).filter(lambda w: sum(w[1:]) > 0)


def distribution(whole):
    """(none, paths)."""
    p = np.array(whole, dtype=np.float64) / sum(whole)
    return p[0], p[1:]


def all_children(none, paths, draws):
    """Every set that can occur, by brute force over the two codes of each."""
    sets = (
        s for n in range(1, len(paths) + 1) for s in itertools.combinations(range(len(paths)), n)
    )
    scores = {
        s: set_probability(paths[list(s)], draws) + set_probability([none, *paths[list(s)]], draws)
        for s in sets
    }
    return {s: score for s, score in scores.items() if score > 0}


@settings(deadline=None, max_examples=150)
@given(weights, st.integers(1, 5))
def test_every_child_comes_once_and_in_order(whole, draws):
    none, paths = distribution(whole)
    expected = all_children(none, paths, draws)
    found = list(ranked_children(none, paths, draws))
    assert len(found) == len({child.paths for child in found}) == len(expected)
    for child in found:
        assert child.probability == pytest.approx(expected[child.paths], rel=1e-12)
    ordered = [child.probability for child in found]
    assert ordered == sorted(ordered, reverse=True)
    # The only other outcome is a node where nothing but none was drawn.
    assert math.fsum(ordered) == pytest.approx(1 - none**draws)


def test_golden_order():
    """M = 2, none .1, paths .5 .3 .1, by hand: p² + 2 p none, and 2 p q for pairs."""
    found = list(ranked_children(0.1, np.array([0.1, 0.5, 0.3]), 2))
    assert [child.paths for child in found] == [(1,), (1, 2), (2,), (0, 1), (0, 2), (0,)]
    probabilities = [child.probability for child in found]
    assert probabilities == pytest.approx([0.35, 0.3, 0.15, 0.1, 0.06, 0.03])


def test_a_second_child_of_one_size_may_beat_the_first_of_all_others():
    """Prefixes alone would miss it."""
    found = list(ranked_children(0.0, np.array([0.5, 0.499, 0.001]), 1))
    assert [child.paths for child in found[:2]] == [(0,), (1,)]


def test_many_draws_and_equal_probabilities_are_no_burden():
    ranked = ranked_children(1 / 36, np.full(35, 1 / 36), 64)
    first = list(itertools.islice(ranked, 200))
    assert len({child.paths for child in first}) == 200


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=4), min_size=1, max_size=4))
def test_the_most_probable_of_all_nodes_come_in_order(scores):
    lists = [
        [Child((n,), q / 100) for n, q in enumerate(sorted(of_node, reverse=True))]
        for of_node in scores
    ]
    products = sorted(
        (math.prod(child.probability for child in each) for each in itertools.product(*lists)),
        reverse=True,
    )
    found = list(most_probable(lists))
    assert len(set(found)) == len(found) == len(products)
    assert [math.prod(c.probability for c in each) for each in found] == pytest.approx(products)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 30),
)
def test_the_best_of_a_pair_of_cells_of_two_nodes(seed, draws, count):
    """Three candidates with none: 4 paths at node 2, 6 at node 3, both cells the same size."""
    random = np.random.default_rng(seed)
    p = [random.dirichlet(np.ones(size)) for size in (5, 7, 5, 7)]
    found = list(
        itertools.islice(most_probable([ranked_children(q[0], q[1:], draws) for q in p]), count)
    )
    every = [sorted(all_children(q[0], q[1:], draws).values(), reverse=True)[:30] for q in p]
    products = sorted((math.prod(each) for each in itertools.product(*every)), reverse=True)
    got = [math.prod(child.probability for child in each) for each in found]
    assert got == pytest.approx(products[: len(got)], rel=1e-9)
    assert len(got) == min(count, len(products))


def test_one_node_that_has_no_child_leaves_nothing():
    assert list(most_probable([[Child((0,), 1.0)], []])) == []
