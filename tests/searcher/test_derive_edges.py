"""Derivation of one path an edge: tables made by hand, and what no table may lead to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.documents.genotype import Genotype
from datac.errors import BadInput
from searcher.derive import derive_by
from searcher.derive_edges import best_of_every_edge, strongest_edges
from searcher.gumbel import Layout

LAYOUT = Layout(("none", "skip", "sep", "pool"), 2, "edge")  # node 2: rows 0, 1; node 3: 2, 3, 4
TABLE = np.array(
    [
        [0.10, 0.30, 0.40, 0.20],
        [0.70, 0.10, 0.05, 0.15],
        [0.10, 0.20, 0.35, 0.35],  # a tie: the first candidate
        [0.94, 0.02, 0.02, 0.02],
        [0.55, 0.40, 0.03, 0.02],
    ]
)


def names(choice):
    return [(path.operation, path.input) for path in choice.paths]


def test_the_strongest_edges_of_a_table_made_by_hand():
    """DARTS: `none` leads on three edges and is never chosen, but the edge is weak for it."""
    assert names(strongest_edges(2, TABLE, LAYOUT)) == [("sep", 0), ("pool", 1)]
    assert names(strongest_edges(3, TABLE, LAYOUT)) == [("sep", 0), ("skip", 2)]


def test_every_edge_of_the_same_table():
    """SNAS: the edges that `none` leads are dropped."""
    assert names(best_of_every_edge(2, TABLE, LAYOUT)) == [("sep", 0)]
    assert names(best_of_every_edge(3, TABLE, LAYOUT)) == [("sep", 0)]


def test_a_node_that_none_leads_everywhere_keeps_its_best_path():
    table = TABLE.copy()
    table[2] = [0.60, 0.10, 0.10, 0.20]
    assert names(best_of_every_edge(3, table, LAYOUT)) == [("skip", 2)]


def test_of_equal_edges_the_first_two_are_kept():
    table = np.full(LAYOUT.shape, 0.25)
    assert names(strongest_edges(3, table, LAYOUT)) == [("skip", 0), ("skip", 1)]
    assert names(best_of_every_edge(3, table, LAYOUT)) == [("skip", 0)]  # none comes first


def test_two_paths_of_one_edge_are_never_both_kept():
    table = np.array([[0.02, 0.49, 0.49, 0.0], [0.97, 0.01, 0.01, 0.01]])
    layout = Layout(LAYOUT.candidates, 1, "edge")
    assert names(strongest_edges(2, table, layout)) == [("skip", 0), ("skip", 1)]


def test_the_distribution_is_over_the_node_and_no_draw_has_a_probability():
    choice = strongest_edges(2, TABLE, LAYOUT)
    assert choice.none == pytest.approx(0.4)
    assert choice.distribution == pytest.approx((0.15, 0.2, 0.1, 0.05, 0.025, 0.075))
    assert (choice.probability, choice.runner_up_probability, choice.margin) == (None, None, None)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from([strongest_edges, best_of_every_edge]),
    st.sampled_from([LAYOUT.candidates, LAYOUT.candidates[1:], ("sep", "none")]),
    st.floats(0, 300),
)
def test_every_derivation_is_a_genotype(seed, nodes, rule, candidates, sharpness):
    layout = Layout(candidates, nodes, "edge")
    logits = sharpness * np.random.default_rng(seed).standard_normal((2, *layout.shape))
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    tables = dict(zip(("normal", "reduction"), p / p.sum(axis=-1, keepdims=True), strict=True))
    derived = derive_by(lambda node, table: rule(node, table, layout), tables, layout, "sum")
    genotype = derived.genotype()
    for cell in genotype.cells.values():
        for number, node in cell.numbered():
            inputs = [path.input for path in node.paths]
            assert inputs == sorted(set(inputs))
            assert 1 <= len(inputs) <= number
            assert rule is not strongest_edges or len(inputs) == 2
            assert "none" not in {path.operation for path in node.paths}
    assert Genotype.model_validate(genotype.model_dump(by_alias=True)) == genotype


def test_what_is_not_finite_is_refused():
    def rule(node, table):
        return strongest_edges(node, table, LAYOUT)

    with pytest.raises(BadInput, match="not finite"):
        derive_by(rule, {"normal": np.full(LAYOUT.shape, np.nan)}, LAYOUT, "sum")
