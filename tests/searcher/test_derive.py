"""Derivation: the rule against brute force over all codes, and what it must never do."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.documents.genotype import Genotype
from datac.errors import BadInput
from searcher.derive import choose, derive
from searcher.gumbel import Layout, set_probability

OPERATIONS = ("max_pool_3x3", "skip_connect", "sep_conv_3x3")
CANDIDATES = ("none", *OPERATIONS)
ONE_NODE = Layout(CANDIDATES, 1)  # none, then 3 operations on input 0, 3 on input 1

seven = st.lists(st.integers(1, 1000), min_size=7, max_size=7, unique=True)


def one_node(p, draws, layout=ONE_NODE):
    return choose(2, np.array(p, dtype=np.float64).reshape(layout.shape), layout, draws)


def names(choice):
    return [(path.operation, path.input) for path in choice.paths]


def all_children(p, draws):
    """Set of path columns → probability with or without none; column 0 is none."""
    paths = range(1, len(p))
    sets = (s for n in range(len(p)) for s in itertools.combinations(paths, n))
    return {
        s: set_probability([p[k] for k in s], draws)
        + set_probability([p[k] for k in (0, *s)], draws)
        for s in sets
    }


@settings(deadline=None, max_examples=80)
@given(seven, st.integers(1, 8))
def test_the_choice_is_the_most_probable_code_of_all(whole, draws):
    p = np.array(whole) / sum(whole)
    sets = (s for n in range(1, 8) for s in itertools.combinations(range(7), n))
    scores = {s: set_probability(p[list(s)], draws) for s in sets}
    best = max(scores.values())
    codes = [s for s, score in scores.items() if score >= best * (1 - 1e-12)]
    kept = {tuple(k for k in s if k) or (1 + int(p[1:].argmax()),) for s in codes}
    choice = one_node(p, draws)
    paths = ONE_NODE.paths(2)
    assert (
        tuple(k for k, c in enumerate(paths, 1) if (c.operation, c.input) in names(choice)) in kept
    )


@settings(deadline=None, max_examples=80)
@given(seven, st.integers(1, 8))
def test_the_probabilities_are_those_of_the_children(whole, draws):
    p = np.array(whole) / sum(whole)
    choice = one_node(p, draws)
    children = all_children(p, draws)
    paths = ONE_NODE.paths(2)
    chosen = tuple(k for k, c in enumerate(paths, 1) if (c.operation, c.input) in names(choice))
    others = [q for s, q in children.items() if s not in (chosen, ())]
    assert sum(children.values()) == pytest.approx(1)
    assert choice.probability == pytest.approx(children[chosen], rel=1e-12)
    assert choice.runner_up_probability == pytest.approx(max(others), rel=1e-12)
    assert (choice.none, *choice.distribution) == pytest.approx(tuple(p), rel=1e-12)
    assert choice.margin == choice.probability - choice.runner_up_probability


KEPT = list(enumerate([1, 2, 2, 3, 4, 5, 5, 6, 7], start=1))
"""data-algorithm 4.2: paths kept of near-uniform p, the argmax of the surjection counts, by M."""


@pytest.mark.parametrize(("draws", "kept"), KEPT)
@pytest.mark.parametrize("granularity", ["node", "edge"])
@pytest.mark.parametrize("noise", [0, 1e-9])
def test_kept_paths_of_near_uniform_probabilities(draws, kept, granularity, noise):
    layout = Layout(("a", "b", "c", "d", "e", "f", "g"), 4, granularity)
    uneven = 1 + noise * np.random.default_rng(draws).uniform(-1, 1, layout.shape)
    p = np.where(layout.mask, uneven, 0)
    p /= p.sum(axis=1, keepdims=True)
    # At M = 3 two and three paths are equally probable; the first wins, unless noise decides.
    allowed = {2, 3} if noise and draws == 3 else {kept}
    for node in layout.node_numbers:
        assert len(choose(node, p, layout, draws).paths) in allowed


def test_equal_probabilities_take_the_first_columns():
    layout = Layout(OPERATIONS, 1)
    assert names(one_node([1 / 6] * 6, 3, layout)) == [("max_pool_3x3", 0), ("skip_connect", 0)]
    # The merged none stands first among equals, and leaves nothing behind.
    assert names(one_node([1 / 7] * 7, 3)) == [("max_pool_3x3", 0)]


def test_a_tie_in_exact_arithmetic_is_one_in_floating_point():
    # 6 p^3 for two paths and for three; at p = 1/33 the sums round differently.
    operations = tuple("abcdefghijk")
    layout = Layout(operations, 2)
    p = np.where(layout.mask, 1.0, 0.0)
    choice = choose(3, p / p.sum(axis=1, keepdims=True), layout, 3)
    assert names(choice) == [("a", 0), ("b", 0)]


def test_paths_stand_by_input_and_candidate():
    p = [0.01, 0.02, 0.3, 0.02, 0.25, 0.02, 0.38]
    found = [("skip_connect", 0), ("max_pool_3x3", 1), ("sep_conv_3x3", 1)]
    assert names(one_node(p, 4)) == found


def test_one_sure_path_is_taken_alone():
    choice = one_node([0, 0, 0, 1, 0, 0, 0], 7)
    assert names(choice) == [("sep_conv_3x3", 0)]
    assert (choice.probability, choice.runner_up_probability) == (1, 0)


@pytest.mark.parametrize("none", [0.9, 1.0])
@pytest.mark.parametrize("draws", [1, 4, 64])
def test_a_node_is_never_empty(none, draws):
    rest = (1 - none) / 10
    choice = one_node([none, *[rest] * 4, 2 * rest, 4 * rest], draws)
    best = ("sep_conv_3x3", 1) if none < 1 else ("max_pool_3x3", 0)
    assert best in names(choice)
    assert choice.probability >= 0


def test_the_none_of_every_edge_is_one():
    layout = Layout(("a", "none", "b"), 1, "edge")
    # Merged none: (.3 + .3) / 2 = .3, above every path; and M = 2 keeps two.
    choice = choose(2, np.array([[0.5, 0.3, 0.2], [0.35, 0.3, 0.35]]), layout, 2)
    assert names(choice) == [("a", 0)]
    p = [0.25, 0.3]
    expected = set_probability(p[:1], 2) + set_probability(p, 2)
    assert choice.probability == pytest.approx(expected)


def test_rows_of_an_edge_are_clipped_and_share_the_node():
    layout = Layout(OPERATIONS, 1, "edge")
    table = np.array([[-3.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    choice = choose(2, table, layout, 2)
    assert names(choice) == [("skip_connect", 0), ("sep_conv_3x3", 1)]
    assert choice.probability == pytest.approx(2 * 0.5 * 0.3)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from(["node", "edge"]),
    st.sampled_from([CANDIDATES, OPERATIONS, ("sep_conv_3x3",)]),
    st.sampled_from(["sum", "mean"]),
    st.floats(0, 200),
)
def test_every_derivation_is_a_genotype(
    seed, draws, nodes, granularity, candidates, aggregation, sharpness
):
    layout = Layout(candidates, nodes, granularity)
    logits = sharpness * np.random.default_rng(seed).standard_normal((2, *layout.shape))
    p = np.where(layout.mask, np.exp(logits - logits.max()), 0)
    p = p / np.maximum(p.sum(axis=-1, keepdims=True), 1e-300)
    p += np.where(layout.mask, 1e-300, 0)
    derived = derive(dict(zip(("normal", "reduction"), p, strict=True)), layout, draws, aggregation)
    genotype = derived.genotype()
    assert genotype.aggregation == aggregation
    assert {len(found) for found in derived.distributions.values()} == {nodes}
    for kind, cell in genotype.cells.items():
        assert cell.output == tuple(layout.node_numbers)
        for node, choice in zip(cell.nodes, derived.choices[kind], strict=True):
            assert 1 <= len(node.paths) <= draws
            assert len(set(node.paths)) == len(node.paths)
            assert "none" not in {path.operation for path in node.paths}
            assert len(choice.distribution) == len(layout.paths(choice.node))
    assert Genotype.model_validate(genotype.model_dump(by_alias=True)) == genotype


def test_64_draws_derive():
    layout = Layout(CANDIDATES, 4)
    p = np.where(layout.mask, 1.0, 0.0)
    derived = derive({"normal": p / p.sum(1, keepdims=True)}, layout, 64, "sum")
    assert all(0 < choice.probability <= 1 for choice in derived.choices["normal"])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected"):
        derive({"normal": np.zeros((3, 3))}, ONE_NODE, 2, "sum")
    with pytest.raises(BadInput, match="not finite"):
        derive({"normal": np.full(ONE_NODE.shape, np.nan)}, ONE_NODE, 2, "sum")
