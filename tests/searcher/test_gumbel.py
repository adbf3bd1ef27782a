"""EGS: the sampler against its closed forms, and the gradient against a plain loop."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.errors import BadInput
from searcher.gumbel import (
    Codes,
    Layout,
    aggregate,
    draw,
    ensemble,
    expected_selected,
    keep_probability,
    probabilities,
    set_probability,
    temperature,
)

CANDIDATES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
LAYOUTS = [
    Layout(names, nodes, granularity)
    for names in (CANDIDATES, CANDIDATES[1:], ("sep_conv_3x3", "none"))
    for nodes in (1, 3)
    for granularity in ("node", "edge")
]

weights = st.lists(st.integers(1, 1000), min_size=1, max_size=7)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shares(whole):
    return [Fraction(value, sum(whole)) for value in whole]


def inclusion_exclusion(p, draws):
    """data-algorithm 1.2, in whatever arithmetic p has."""
    return sum(
        (-1) ** (len(p) - size) * sum(part) ** draws
        for size in range(len(p) + 1)
        for part in itertools.combinations(p, size)
    )


def subsets(items):
    items = list(items)
    return (s for size in range(len(items) + 1) for s in itertools.combinations(items, size))


@pytest.mark.parametrize(
    ("p", "draws", "exact"),
    [
        ([0.5], 2, 0.25),  # the paper's figure 2
        ([0.5, 0.5], 2, 0.5),
        ([0.5], 10, 0.5**10),  # the released code is wrong from M = 10 on
        ([1 / 64] * 64, 64, float(Fraction(math.factorial(64), 64**64))),
    ],
)
def test_set_probability_of_known_sets(p, draws, exact):
    assert set_probability(p, draws) == pytest.approx(exact, rel=1e-12, abs=0)


@settings(deadline=None, max_examples=60)
@given(weights, st.integers(1, 12))
def test_set_probability_is_inclusion_exclusion(whole, draws):
    p = shares([*whole, 500])[:-1]
    exact = float(inclusion_exclusion(p, draws))
    assert set_probability([float(x) for x in p], draws) == pytest.approx(exact, rel=1e-13, abs=0)


@settings(deadline=None, max_examples=60)
@given(weights, st.integers(1, 9))
def test_set_probabilities_sum_to_one(whole, draws):
    p = [float(x) for x in shares(whole)]
    total = sum(set_probability(s, draws) for s in subsets(p))
    assert total == pytest.approx(1, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(1, 5))
def test_set_probability_is_the_multinomial_sum(whole, draws):
    p = [float(x) for x in shares(whole)]
    found = dict.fromkeys((frozenset(s) for s in subsets(range(len(p)))), 0.0)
    for hits in itertools.product(range(len(p)), repeat=draws):
        found[frozenset(hits)] += math.prod(p[k] for k in hits)
    for members, probability in found.items():
        computed = set_probability([p[k] for k in members], draws)
        assert computed == pytest.approx(probability, rel=1e-12, abs=0)


@pytest.mark.parametrize("members", [1, 2, 16, 20])
def test_64_draws_are_accurate(members):
    whole = [1 + 3 * k for k in range(members)]
    p = shares([*whole, 100])[:-1]
    by_size = [Fraction(0)] * (sum(whole) + 1)  # signed subset counts by the sum of the subset
    by_size[0] = Fraction((-1) ** members)
    for value in whole:
        for total in range(sum(whole), value - 1, -1):
            by_size[total] -= by_size[total - value]
    exact = sum(
        count * Fraction(total, sum(whole) + 100) ** 64 for total, count in enumerate(by_size)
    )
    computed = set_probability([float(x) for x in p], 64)
    assert computed == pytest.approx(float(exact), rel=1e-12, abs=0)


def test_sets_that_no_draw_can_give():
    assert set_probability([], 3) == 0
    assert set_probability([0.25] * 4, 3) == 0
    assert set_probability([1.0], 3) == 1
    assert set_probability([1.0, 0.0], 3) == 0


@settings(deadline=None, max_examples=60)
@given(weights, st.integers(1, 9))
def test_keep_probability_is_the_sum_over_the_sets_that_hold_it(whole, draws):
    p = [float(x) for x in shares(whole)]
    kept = keep_probability(np.array(p), draws)
    for k in range(len(p)):
        sets = (s for s in subsets(range(len(p))) if k in s)
        total = sum(set_probability([p[i] for i in s], draws) for s in sets)
        assert kept[k] == pytest.approx(total, rel=1e-11)


@settings(deadline=None)
@given(weights, st.integers(1, 30))
def test_proposition_1(whole, draws):
    """The more probable an operation, the more probably it is kept; equal only when equal."""
    p = shares(whole)
    exact = [1 - (1 - x) ** draws for x in p]
    kept = keep_probability(np.array([float(x) for x in p]), draws)
    assert kept == pytest.approx([float(x) for x in exact], rel=1e-12)
    for (a, kept_a), (b, kept_b) in itertools.combinations(zip(p, exact, strict=True), 2):
        assert (a < b) == (kept_a < kept_b)
        assert (a == b) == (kept_a == kept_b)
    order = np.argsort([float(x) for x in p], kind="stable")
    assert (np.diff(kept[order]) >= -1e-15).all()


def test_keep_probability_at_the_ends():
    kept = keep_probability(np.array([0.0, 1e-20, 1.0, 1.0 + 1e-15]), 4)
    assert kept.tolist() == [0.0, 4e-20, 1.0, 1.0]


@pytest.mark.parametrize(
    ("draws", "size"),
    list(enumerate([1, 1.88, 2.64, 3.31, 3.90, 4.41, 4.86, 5.25, 5.59], start=1)),
)
def test_support_of_uniform_probabilities(draws, size):
    """data-algorithm 1.2, K = 8."""
    assert float(expected_selected(np.full(8, 1 / 8), draws)) == pytest.approx(size, abs=0.0051)


@pytest.mark.parametrize(
    ("candidates", "draws", "codes"), [(3, 2, 6), (8, 4, 162), (8, 7, 254), (8, 9, 255)]
)
def test_proposition_2_corrected(candidates, draws, codes):
    """data-algorithm 1.3: the codes with 1 to M ones, not C(K, M) (2^M - 1)."""
    p = np.arange(1.0, candidates + 1) / (candidates * (candidates + 1) / 2)
    possible = [s for s in subsets(range(candidates)) if set_probability(p[list(s)], draws) > 0]
    assert len(possible) == codes
    if candidates**draws < 10_000:
        drawn = {frozenset(hits) for hits in itertools.product(range(candidates), repeat=draws)}
        assert {frozenset(s) for s in possible} == drawn


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_path_has_one_column(layout):
    groups, width = layout.shape
    assert layout.mask.shape == (groups, width)
    assert layout.mask.sum(dim=1).tolist() == [len(columns) for columns in layout.columns]
    for group, columns in enumerate(layout.columns):
        assert [(c.group, c.index) for c in columns] == [(group, i) for i in range(len(columns))]
        assert len({c.node for c in columns}) == 1
    for node in layout.node_numbers:
        expected = [(i, name) for i in range(node) for name in layout.operations]
        assert [(c.input, c.operation) for c in layout.paths(node)] == expected


def test_a_node_has_one_none_and_it_stands_first():
    layout = Layout(("max_pool_3x3", "none", "skip_connect"), 2)
    names = [[(c.input, c.operation) for c in columns] for columns in layout.columns]
    paths = [(i, name) for i in range(3) for name in ("max_pool_3x3", "skip_connect")]
    assert names == [[(None, "none"), *paths[:4]], [(None, "none"), *paths]]


def test_an_edge_has_every_candidate():
    layout = Layout(CANDIDATES, 4, "edge")
    assert layout.shape == (14, 4)
    assert bool(layout.mask.all())
    assert [columns[0].node for columns in layout.columns] == [2] * 2 + [3] * 3 + [4] * 4 + [5] * 5
    assert [columns[0].input for columns in layout.columns][:5] == [0, 1, 0, 1, 2]


@pytest.mark.parametrize(
    ("names", "nodes", "says"),
    [(("a", "a"), 4, "only once"), (("none",), 4, "besides none"), (("a",), 0, "1 or more")],
)
def test_layouts_that_cannot_be(names, nodes, says):
    with pytest.raises(BadInput, match=says):
        Layout(names, nodes)


def test_what_is_drawn_follows_the_closed_forms():
    trials, draws = 40_000, 3
    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    codes = draw(p.expand(trials, 4), draws, generator()).selected.double()
    spread = 4 * 0.5 / math.sqrt(trials)  # four standard deviations at most
    assert codes.mean(0).numpy() == pytest.approx(keep_probability(p.numpy(), draws), abs=spread)
    for members in subsets(range(4)):
        code = torch.tensor([float(k in members) for k in range(4)], dtype=torch.float64)
        share = float((codes == code).all(dim=1).double().mean())
        assert share == pytest.approx(set_probability(p[list(members)].numpy(), draws), abs=spread)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_columns_that_exist_are_drawn(layout):
    p = probabilities(torch.randn(layout.shape, generator=generator(1)), layout.mask)
    assert p.sum(dim=1).numpy() == pytest.approx(1, abs=1e-6)
    codes = draw(p, 20, generator())
    assert codes.noise.shape == codes.samples.shape == (20, *layout.shape)
    assert bool((codes.samples.sum(dim=-1) == 1).all())
    assert not bool((codes.selected & ~layout.mask).any())


def test_the_generator_decides():
    p = torch.full((5, 8), 1 / 8)
    first = draw(p, 4, generator(7))
    assert torch.equal(first.noise, draw(p, 4, generator(7)).noise)
    assert not torch.equal(first.noise, draw(p, 4, generator(8)).noise)


def test_probabilities_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        draw(torch.tensor([[0.5, math.nan]]), 2, generator())


def by_loop(logits, layout, codes, temp):
    """Definition 1, group by group and draw by draw, without padding."""
    rows = []
    for group, columns in enumerate(layout.columns):
        log_p = torch.log_softmax(logits[group, : len(columns)], dim=0)
        samples = []
        for noise in codes.noise[:, group, : len(columns)]:
            soft = torch.softmax((log_p + noise) / temp, dim=0)
            hard = torch.zeros_like(soft)
            hard[soft.argmax()] = 1
            samples.append((hard - soft).detach() + soft)
        stacked = torch.stack(samples)
        hit = stacked.detach().round() == stacked.detach().round().amax(dim=0)
        even = hit.double() / hit.double().sum(dim=0)  # the gradient of a maximum, ties shared
        rows.append((stacked * even).sum(dim=0))
    return rows


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("draws", "temp"), [(1, 1.0), (4, 5.0), (7, 0.5)])
def test_gradient_is_that_of_the_loop(layout, draws, temp):
    rng = generator(draws)
    start = torch.randn(layout.shape, dtype=torch.float64, generator=rng)
    factors = torch.randn(layout.shape, dtype=torch.float64, generator=rng)
    codes = draw(probabilities(start, layout.mask), draws, rng)

    ours = start.clone().requires_grad_()
    code = ensemble(ours, layout.mask, codes, temp)
    (code * factors).sum().backward()

    theirs = start.clone().requires_grad_()
    rows = by_loop(theirs, layout, codes, temp)
    sum((row * factors[g, : len(row)]).sum() for g, row in enumerate(rows)).backward()

    for group, row in enumerate(rows):
        assert code[group, : len(row)].tolist() == row.detach().round().tolist()
    assert ours.grad.numpy() == pytest.approx(theirs.grad.numpy(), abs=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_gradient_reaches_every_logit(layout, aggregation):
    logits = torch.zeros(layout.shape, dtype=torch.float64, requires_grad=True)
    codes = draw(probabilities(logits, layout.mask), 3, generator())
    weighed = aggregate(ensemble(logits, layout.mask, codes, 1.0), layout, aggregation)
    outputs = torch.rand(layout.shape, dtype=torch.float64, generator=generator(5))
    for columns in layout.columns:
        for column in columns:
            if column.operation == "none":
                outputs[column.group, column.index] = 0  # its output is nothing
    (weighed * outputs).sum().backward()
    several = layout.mask & (layout.mask.sum(dim=1, keepdim=True) > 1)  # one column decides nothing
    assert bool((logits.grad[several] != 0).all())
    assert bool((logits.grad[~layout.mask] == 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temp", [0.1, 1.0, 5.0])
def test_forward_is_exact(dtype, temp):
    layout = Layout(CANDIDATES, 4)
    for seed in range(20):
        logits = (4 * torch.randn(layout.shape, generator=generator(seed))).to(dtype)
        codes = draw(probabilities(logits.double(), layout.mask), 5, generator(seed))
        code = ensemble(logits, layout.mask, codes, temp)
        assert code.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(code, codes.selected.to(code.dtype))


def test_ties_share_the_gradient():
    # Both samples hit column 0 with the same noise: each carries half, not the first one all.
    noise = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]], dtype=torch.float64)
    samples = torch.tensor([[[True, False]], [[True, False]]])
    logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.bool)
    ensemble(logits, mask, Codes(noise, samples), 1.0)[0, 0].backward()
    soft = math.e / (math.e + 1)
    assert logits.grad[0].tolist() == pytest.approx([soft * (1 - soft), -soft * (1 - soft)])
    apart = Codes(noise * torch.tensor([1.0, 3.0]).view(2, 1, 1), samples)
    logits.grad = None
    ensemble(logits, mask, apart, 1.0)[0, 0].backward()
    slopes = [s * (1 - s) for s in (soft, math.exp(3) / (math.exp(3) + 1))]
    assert logits.grad[0, 0].item() == pytest.approx(sum(slopes) / 2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("scale", [1e3, 1e30, 3e38])
@pytest.mark.parametrize("decided", [0, -1])
def test_decided_logits_stay_finite(layout, aggregation, scale, decided):
    """Also where every group has decided for `none` (column 0 of most layouts)."""
    logits = torch.full(layout.shape, -scale)
    for columns in layout.columns:
        logits[columns[0].group, columns[decided].index] = scale
    logits.requires_grad_()
    codes = draw(probabilities(logits.detach().double(), layout.mask), 4, generator())
    assert int(codes.selected.sum()) == layout.shape[0]
    result = aggregate(ensemble(logits, layout.mask, codes, 1.0), layout, aggregation)
    (result * torch.arange(1.0, 1 + layout.shape[1])).sum().backward()
    assert bool(result.isfinite().all())
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mean_divides_by_the_paths_of_the_node(layout):
    logits = torch.randn(layout.shape, dtype=torch.float64, generator=generator(2))
    codes = draw(probabilities(logits, layout.mask), 4, generator(2))
    code = ensemble(logits, layout.mask, codes, 1.0)
    assert aggregate(code, layout, "sum") is code
    mean = aggregate(code, layout, "mean")
    for node in layout.node_numbers:
        chosen = [c for c in layout.paths(node) if codes.selected[c.group, c.index]]
        for column in layout.paths(node):
            expected = 1 / len(chosen) if column in chosen else 0
            assert mean[column.group, column.index].item() == pytest.approx(expected)


@pytest.mark.parametrize("granularity", ["node", "edge"])
def test_a_draw_of_none_alone_divides_by_one(granularity):
    layout = Layout(CANDIDATES, 2, granularity)
    logits = torch.zeros(layout.shape)
    logits[:, 0] = 50.0
    logits.requires_grad_()
    codes = draw(probabilities(logits.detach().double(), layout.mask), 4, generator())
    mean = aggregate(ensemble(logits, layout.mask, codes, 1.0), layout, "mean")
    assert mean.tolist() == [[1.0] + [0.0] * (layout.shape[1] - 1)] * layout.shape[0]
    mean[:, 1:].sum().backward()
    assert bool(logits.grad.isfinite().all())
    assert float(logits.grad.abs().max()) < 1  # the released code reaches 6e8 here


def test_temperature_runs_over_the_real_steps():
    assert [temperature(step, 5) for step in range(5)] == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert temperature(99, 100) == 1.0
    assert temperature(500, 100) == 1.0
    assert temperature(0, 1) == 5.0
    assert temperature(1, 3, start=2.0, end=0.0) == 1.0


def test_temperature_changes_the_gradient_and_nothing_else():
    layout = Layout(CANDIDATES, 3)
    start = torch.randn(layout.shape, generator=generator(4))
    codes = draw(probabilities(start, layout.mask), 4, generator(4))
    found = []
    for temp in (1.0, 5.0):
        logits = start.clone().requires_grad_()
        code = ensemble(logits, layout.mask, codes, temp)
        code[:, 1].sum().backward()
        found.append((code.detach(), logits.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.allclose(found[0][1], found[1][1])
