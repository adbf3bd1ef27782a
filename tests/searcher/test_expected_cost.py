"""The expected cost of a draw: against enumeration, the sampler, and finite differences."""

import itertools
import math

import pytest
import torch

from datac.documents.genotype import CELL_KINDS
from searcher.expected_cost import cost_columns, expected_cost
from searcher.gumbel import Layout, draw, probabilities
from searcher.path_costs import PathCosts

CANDIDATES = ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
LAYOUTS = [
    Layout(names, nodes, granularity)
    for names in (CANDIDATES, CANDIDATES[1:])
    for nodes in (1, 3)
    for granularity in ("node", "edge")
]
REST = 7.0


def costs_of(layout):
    """Every path of both kinds has a cost of its own."""
    numbers = itertools.count(1)
    paths = {
        kind: {
            (source, name): float(next(numbers))
            for source in range(layout.node_numbers[-1])
            for name in layout.operations
        }
        for kind in CELL_KINDS
    }
    return PathCosts(REST, paths)


def logits_of(layout, spread=2.0):
    generator = torch.Generator().manual_seed(0)
    return {
        kind: spread * torch.randn(layout.shape, generator=generator, dtype=torch.float64)
        for kind in CELL_KINDS
    }


def of(logits, layout, draws):
    return expected_cost(logits, cost_columns(costs_of(layout), layout), REST, layout, draws)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_hold_the_costs_of_their_paths(layout):
    costs = costs_of(layout)
    for kind, table in cost_columns(costs, layout).items():
        seen = torch.zeros(layout.shape, dtype=torch.bool)
        for node in layout.node_numbers:
            for path in layout.paths(node):
                assert (
                    table[path.group, path.index] == costs.paths[kind][path.input, path.operation]
                )
                seen[path.group, path.index] = True
        assert not table[~seen].any()


@pytest.mark.parametrize("draws", [1, 2, 4])
@pytest.mark.parametrize("granularity", ["node", "edge"])
def test_it_is_the_mean_over_everything_that_can_be_drawn(draws, granularity):
    layout = Layout(CANDIDATES[:3], 1, granularity)
    logits, costs = logits_of(layout), costs_of(layout)
    total = REST
    for kind, table in cost_columns(costs, layout).items():
        p = probabilities(logits[kind], layout.mask)
        for group in range(layout.shape[0]):
            for hits in itertools.product(range(layout.shape[1]), repeat=draws):
                chance = math.prod(float(p[group, k]) for k in hits)
                total += chance * sum(float(table[group, k]) for k in set(hits))
    assert float(of(logits, layout, draws)) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_the_mean_of_the_sampler(layout):
    draws, samples = 4, 4000
    logits, columns = logits_of(layout, 1.0), cost_columns(costs_of(layout), layout)
    generator = torch.Generator().manual_seed(1)
    found = torch.full((samples,), REST, dtype=torch.float64)
    for kind, values in logits.items():
        p = probabilities(values, layout.mask)
        for sample in range(samples):
            found[sample] += (columns[kind] * draw(p, draws, generator).selected).sum()
    error = float(found.std()) / math.sqrt(samples)
    assert float(found.mean()) == pytest.approx(float(of(logits, layout, draws)), abs=4 * error)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("draws", [1, 4])
def test_its_gradient_is_that_of_finite_differences(layout, draws):
    columns = cost_columns(costs_of(layout), layout)
    values = [logits.requires_grad_() for logits in logits_of(layout).values()]

    def cost(*tables):
        return expected_cost(
            dict(zip(CELL_KINDS, tables, strict=True)), columns, REST, layout, draws
        )

    assert torch.autograd.gradcheck(cost, values)


@pytest.mark.parametrize("draws", [1, 4, 64])
def test_a_sure_path_has_its_cost_and_a_finite_gradient(draws):
    layout = Layout(CANDIDATES, 1)
    logits = {kind: torch.zeros(layout.shape) for kind in CELL_KINDS}
    for values in logits.values():
        values[0, 2] = 1000.0
        values.requires_grad_()
    cost = of(logits, layout, draws)
    costs = costs_of(layout)
    expected = sum(costs.paths[kind][0, "sep_conv_3x3"] for kind in CELL_KINDS)
    assert float(cost.detach()) == REST + expected
    cost.backward()
    assert all(values.grad.isfinite().all() for values in logits.values())
