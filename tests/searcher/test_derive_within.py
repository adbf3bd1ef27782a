"""The derivation under bounds: against brute force over every genotype of a small space."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.documents.genotype import CELL_KINDS, Cell, Node, Path
from searcher import derive_within as module
from searcher.bounds import Bound
from searcher.derive import child_probabilities, derive
from searcher.derive_within import derive_within
from searcher.gumbel import Layout, set_probability
from searcher.path_costs import PathCosts

CANDIDATES = ("none", "skip_connect", "sep_conv_3x3")
LAYOUT = Layout(CANDIDATES, 1)  # none, then 2 operations on each of 2 inputs
WIDE = Layout(("none", "a", "b", "c", "d", "e", "f", "g"), 4)
PLACES = [(source, name) for source in (0, 1) for name in LAYOUT.operations]
REST = 10.0

cost = st.integers(0, 6)
table = st.fixed_dictionaries(
    {(source, name): cost for source in (0, 1) for name in LAYOUT.operations}
)
five = st.lists(st.integers(1, 1000), min_size=5, max_size=5, unique=True)


def bound_of(value, paths, quantity="multiply_adds"):
    return Bound(quantity, "--max", value, PathCosts(REST, paths))


def derived_from(p, layout, draws):
    tables = {kind: np.array(values, dtype=np.float64) for kind, values in p.items()}
    return derive(tables, layout, draws, "sum")


def score_of(none, p, draws):
    """The log-probability of the most probable code with exactly these paths."""
    return math.log(max(set_probability(p, draws), set_probability([*p, none], draws), 1e-300))


def total_score(derived, layout, draws):
    total = 0.0
    for choices in derived.choices.values():
        for choice in choices:
            places = [(c.input, c.operation) for c in layout.paths(choice.node)]
            p = [choice.distribution[places.index((x.input, x.operation))] for x in choice.paths]
            total += score_of(choice.none, p, draws)
    return total


def every_cell(derived, kind, draws):
    """(cell of one node, its score) for every set of at most M paths."""
    (choice,) = derived.choices[kind]
    columns = list(zip(LAYOUT.paths(2), choice.distribution, strict=True))
    for size in range(1, draws + 1):
        for part in itertools.combinations(columns, size):
            paths = tuple(Path(operation=c.operation, input=c.input) for c, _ in part)
            score = score_of(choice.none, [p for _, p in part], draws)
            yield Cell(nodes=(Node(paths=paths),), output=(2,)), score


def brute_force(derived, bounds, draws):
    """The score of the most probable genotype that meets the bounds, or None."""
    scores = [
        first + second
        for (normal, first), (reduction, second) in itertools.product(
            *(every_cell(derived, kind, draws) for kind in CELL_KINDS)
        )
        if not any(bound.excess({"normal": normal, "reduction": reduction}) for bound in bounds)
    ]
    return max(scores, default=None)


def shares(whole):
    return [[value / sum(whole) for value in whole]]


@settings(max_examples=60, deadline=None)
@given(five, five, table, table, st.integers(1, 4), st.floats(0, 1))
def test_it_is_the_most_probable_genotype_within_one_bound(
    normal, reduction, costs, more, draws, share
):
    derived = derived_from(
        {"normal": shares(normal), "reduction": shares(reduction)}, LAYOUT, draws
    )
    paths = {"normal": costs, "reduction": more}
    free = bound_of(1e9, paths).costs
    least = REST + sum(min(of_kind.values()) for of_kind in paths.values())
    bound = bound_of(least + share * (free.of(derived.cells) - least), paths)
    found = derive_within(derived, [bound], LAYOUT, draws)
    assert bound.excess(found.cells) == 0
    if not bound.excess(derived.cells):
        assert found is derived
        return
    best = brute_force(derived, [bound], draws)
    assert total_score(found, LAYOUT, draws) == pytest.approx(best, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(five, five, table, table, st.integers(1, 3), st.integers(10, 22), st.integers(10, 22))
def test_it_is_the_most_probable_genotype_within_two(
    normal, reduction, costs, more, draws, first, second
):
    derived = derived_from(
        {"normal": shares(normal), "reduction": shares(reduction)}, LAYOUT, draws
    )
    bounds = [
        bound_of(first, {"normal": costs, "reduction": more}),
        bound_of(second, {"normal": more, "reduction": costs}, "parameters"),
    ]
    found = derive_within(derived, bounds, LAYOUT, draws)
    best = brute_force(derived, bounds, draws)
    if not any(bound.excess(derived.cells) for bound in bounds):
        assert found is derived
    elif best is None:  # each can be met, not both: the nearest
        assert any(bound.excess(found.cells) for bound in bounds)
    else:
        assert not any(bound.excess(found.cells) for bound in bounds)
        assert total_score(found, LAYOUT, draws) == pytest.approx(best, rel=1e-9)


def cheapest(layout, first, second, price):
    """What the genotype costs that is the cheapest where a unit of `second` costs `price`."""
    total = np.array([REST, REST])
    for kind, node in itertools.product(CELL_KINDS, layout.node_numbers):
        pairs = [
            (first[kind][path.input, path.operation], second[kind][path.input, path.operation])
            for path in layout.paths(node)
        ]
        total += min(pairs, key=lambda pair: pair[0] + price * pair[1])
    return total * 1.0005


@pytest.mark.parametrize("price", [0.3, 1.0, 3.0])
def test_what_meets_two_bounds_is_not_thinned_out(monkeypatch, price):
    monkeypatch.setattr(module, "MOST_KEPT", 9)
    for seed in range(20):
        random = np.random.default_rng(seed)
        p = {kind: [random.dirichlet(np.ones(5)).tolist()] for kind in CELL_KINDS}
        first, second = (
            {kind: {place: random.uniform(0, 6) for place in PLACES} for kind in CELL_KINDS}
            for _ in range(2)
        )
        values = cheapest(LAYOUT, first, second, price)
        bounds = [bound_of(values[0], first), bound_of(values[1], second, "parameters")]
        derived = derived_from(p, LAYOUT, 3)
        found = derive_within(derived, bounds, LAYOUT, 3)
        assert not any(bound.excess(found.cells) for bound in bounds), seed
        assert total_score(found, LAYOUT, 3) <= brute_force(derived, bounds, 3) + 1e-9


@pytest.mark.parametrize(("price", "draws"), [(0.3, 4), (1.0, 4), (3.0, 4), (3.0, 64)])
def test_nor_is_it_in_a_real_search(price, draws):
    for seed in (1, 6, 10):
        layout, p, first = wide(seed)
        *_, other = wide(seed + 100)
        second = {
            kind: {
                place: max(0.0, 3.5 - first[kind][place]) + 0.5 * value
                for place, value in other[kind].items()
            }
            for kind in CELL_KINDS
        }
        values = cheapest(layout, first, second, price)
        bounds = [bound_of(values[0], first), bound_of(values[1], second, "parameters")]
        found = derive_within(derived_from(p, layout, draws), bounds, layout, draws)
        assert not any(bound.excess(found.cells) for bound in bounds), seed


def test_the_probabilities_are_those_of_the_choice():
    p = {"normal": [[0.1, 0.1, 0.4, 0.05, 0.35]], "reduction": [[0.1, 0.5, 0.2, 0.15, 0.05]]}
    derived = derived_from(p, LAYOUT, 2)
    paths = {
        kind: {(s, name): float(name == "sep_conv_3x3") for s in (0, 1) for name in CANDIDATES}
        for kind in CELL_KINDS
    }
    found = derive_within(derived, [bound_of(REST, paths)], LAYOUT, 2)
    (choice,) = found.choices["normal"]
    assert {path.operation for path in choice.paths} == {"skip_connect"}
    chosen = [0.1, 0.05] if len(choice.paths) == 2 else [0.1]
    assert choice.probability == pytest.approx(child_probabilities(0.1, np.array(chosen), 2)[-1])
    best = child_probabilities(0.1, np.array([0.4, 0.35]), 2).max()
    assert choice.runner_up_probability == pytest.approx(best)
    assert choice.margin < 0
    assert (choice.none, choice.distribution) == (0.1, (0.1, 0.4, 0.05, 0.35))


# ---------------------------------------------------------------- the size of a real search


def wide(seed, granularity="node", spread=1.5):
    layout = Layout(WIDE.candidates, 4, granularity)
    random = np.random.default_rng(seed)
    p = {}
    for kind in CELL_KINDS:
        values = np.where(layout.mask, np.exp(spread * random.normal(size=layout.shape)), 0)
        p[kind] = values / values.sum(axis=1, keepdims=True)
    costs = {
        kind: {
            (source, name): (0.0 if name in "ab" else 1 + random.random()) * (2 - (source < 2))
            for source in range(5)
            for name in layout.operations
        }
        for kind in CELL_KINDS
    }
    return layout, p, costs


@pytest.mark.parametrize("draws", [1, 4, 7, 20, 64])
@pytest.mark.parametrize("granularity", ["node", "edge"])
def test_any_number_of_draws_meets_the_bound(draws, granularity):
    layout, p, costs = wide(draws, granularity)
    derived = derived_from(p, layout, draws)
    free = bound_of(1e9, costs).costs.of(derived.cells)
    before = -math.inf
    for share in (0, 0.01, 0.3, 0.6, 0.9):
        bound = bound_of(REST + share * (free - REST), costs)
        found = derive_within(derived, [bound], layout, draws)
        assert bound.excess(found.cells) == 0
        assert all(c.paths for choices in found.choices.values() for c in choices)
        score = total_score(found, layout, draws)
        assert score >= before - 1e-9  # a looser bound is never worse
        before = score


def test_where_sets_are_too_many_to_list_little_is_lost(monkeypatch):
    layout, p, costs = wide(3)
    derived = derived_from(p, layout, 4)
    free = bound_of(1e9, costs).costs.of(derived.cells)
    for share in (0.1, 0.4, 0.8):
        bound = bound_of(REST + share * (free - REST), costs)
        exact = total_score(derive_within(derived, [bound], layout, 4), layout, 4)
        with monkeypatch.context() as patch:
            patch.setattr(module, "MOST_SETS", 0)
            few = derive_within(derived, [bound], layout, 4)
            patch.setattr(module, "MOST_KEPT", 50)
            fewer = derive_within(derived, [bound], layout, 4)
        for found in (few, fewer):
            assert bound.excess(found.cells) == 0
            assert exact - 1.0 <= total_score(found, layout, 4) <= exact + 1e-9
