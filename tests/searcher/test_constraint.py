"""The multiplier: what it adds to a gradient, when it rises, and what it leads logits to."""

import pytest
import torch

from datac.documents.genotype import CELL_KINDS
from searcher.bounds import Bound
from searcher.constraint import ASCENT, STIFFNESS, Constraint
from searcher.gumbel import Layout
from searcher.path_costs import PathCosts

LAYOUT = Layout(("none", "skip_connect", "sep_conv_3x3"), 2)
REST, STEPS, DRAWS = 100.0, 200, 4
COSTS = PathCosts(
    REST,
    {
        kind: {
            (s, name): 10.0 * (name == "sep_conv_3x3")
            for s in range(3)
            for name in LAYOUT.operations
        }
        for kind in CELL_KINDS
    },
)


def constraint(*values):
    return Constraint(
        [Bound("multiply_adds", "--max-macs", value, COSTS) for value in values],
        LAYOUT,
        DRAWS,
        STEPS,
    )


def logits_at(value=0.0):
    return {kind: torch.full(LAYOUT.shape, value, requires_grad=True) for kind in CELL_KINDS}


def gradients(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(LAYOUT.shape, generator=generator) for _ in CELL_KINDS]


def length(tensors):
    return float(torch.cat([values.flatten() for values in tensors]).norm())


def test_without_bounds_gradients_stay():
    given = gradients()
    assert constraint().add_to(given, logits_at())[0] is given[0]


def test_a_slack_bound_adds_nothing():
    given, limit = gradients(), constraint(1e6)
    pushed = limit.add_to(given, logits_at())
    assert all(torch.equal(a, b) for a, b in zip(given, pushed, strict=True))
    assert limit.multipliers == [0.0]


def test_an_exceeded_bound_pushes_as_hard_as_its_excess_whatever_the_unit():
    logits, given = logits_at(), gradients()
    (expected,) = constraint(1.0 + REST).expected(logits)
    limit = constraint(REST + (expected - REST) / 1.5)  # e = 1/2
    pushed = limit.add_to(given, logits)
    push = STIFFNESS / 2
    added = [(1 + push) * b - a for a, b in zip(given, pushed, strict=True)]
    assert length(added) == pytest.approx(push * length(given), rel=1e-5)
    assert length(pushed) <= length(given)
    assert limit.multipliers == [pytest.approx(ASCENT / STEPS / 2)]
    # Downhill in the cost, and for whatever unit the loss has.
    stepped = {
        kind: logits[kind] - 1e-3 * move for kind, move in zip(CELL_KINDS, added, strict=True)
    }
    assert limit.expected(stepped)[0] < expected
    again = constraint(limit.bounds[0].value).add_to([1000 * g for g in given], logits)
    assert all(torch.allclose(1000 * a, b, rtol=1e-4) for a, b in zip(pushed, again, strict=True))


def test_the_excess_is_held():
    limit = constraint(REST)  # no room at all
    limit.add_to(gradients(), logits_at())
    assert limit.multipliers == [pytest.approx(ASCENT / STEPS)]
    loose = constraint(1e6)
    loose.multipliers = [1.0]
    loose.add_to(gradients(), logits_at())
    assert loose.multipliers == [pytest.approx(1 - ASCENT / STEPS, abs=1e-3)]


def test_bounds_add_up():
    logits, given = logits_at(), gradients()
    one = constraint(REST + 5).add_to(given, logits)
    both = constraint(REST + 5, REST + 5).add_to(given, logits)
    push = STIFFNESS
    for before, first, second in zip(given, one, both, strict=True):
        added = (1 + push) * first - before
        assert torch.allclose((1 + 2 * push) * second - before, 2 * added, atol=1e-4)


def test_an_early_push_does_not_slow_what_comes_later():
    """Adam divides by the lengths of the past: none may be longer than the loss made it."""
    logits, limit = logits_at(), constraint(REST + 1)
    for seed in range(20):
        given = gradients(seed)
        assert length(limit.add_to(given, logits)) < 1.5 * length(given)


def test_no_gradient_of_the_loss_is_no_push():
    zeros = [torch.zeros(LAYOUT.shape) for _ in CELL_KINDS]
    pushed = constraint(REST + 5).add_to(zeros, logits_at())
    assert not any(values.any() for values in pushed)


@pytest.mark.parametrize("room", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_a_loss_that_wants_more_comes_to_rest_at_the_bound(room, scale):
    """The loss rewards every convolution, under noise ten times as large."""
    logits = logits_at()
    (most,) = constraint(REST + 1).expected(logits)
    limit = constraint(REST + room * (most - REST))
    optimizer = torch.optim.Adam(list(logits.values()), lr=0.05, betas=(0.5, 0.999))
    wanted = torch.zeros(LAYOUT.shape)
    for columns in LAYOUT.columns:
        for column in columns:
            wanted[column.group, column.index] = -float(column.operation == "sep_conv_3x3")
    generator = torch.Generator().manual_seed(0)
    last = []
    for step in range(STEPS):
        noisy = [
            scale * (0.1 * wanted + torch.randn(LAYOUT.shape, generator=generator))
            for _ in CELL_KINDS
        ]
        for values, gradient in zip(logits.values(), limit.add_to(noisy, logits), strict=True):
            values.grad = gradient
        optimizer.step()
        if step >= STEPS - 50:
            last.append(limit.expected(logits)[0])
    allowance = limit.bounds[0].value - REST
    assert 0.75 * allowance < sum(last) / len(last) - REST < 1.02 * allowance
    assert last[-1] - REST < 1.02 * allowance


def test_its_state_goes_on():
    logits, limit = logits_at(), constraint(REST + 5)
    limit.add_to(gradients(1), logits)
    other = constraint(REST + 5)
    other.restore(limit.state())
    first, second = (each.add_to(gradients(2), logits) for each in (limit, other))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert limit.state() == other.state()
