"""The verdict of any method on made-up searches; for DATA it is that of `datac derive`."""

import numpy as np
import pytest
import torch
from fidelity_verdict import judged

from datac.documents.genotype import Genotype
from datac.documents.search_result import SearchResult
from datac.documents.search_space import SearchSpace
from searcher.certificate import certify
from searcher.course import Course
from searcher.method_options import MethodOptions

CANDIDATES = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
EPOCHS, STEPS = 6, 10


def method_of(name):
    draws = 4 if name == "data" else None
    return MethodOptions(name, draws=draws).make(CANDIDATES, 2, "sum", None)


def straight(method, seed=3):
    """(E, G, n): logits that go straight somewhere, to convolutions rather than elsewhere."""
    layout = method.layout
    end = np.random.default_rng(seed).normal(size=layout.shape)
    for node in layout.node_numbers:
        for column in layout.of_node(node):
            end[column.group, column.index] += 4 * (column.operation == "sep_conv_3x3")
    return np.arange(1, EPOCHS + 1)[:, None, None] / EPOCHS * end


def wandering(method, seed=3):
    steps = np.random.default_rng(seed).normal(size=(EPOCHS, *method.layout.shape))
    return np.cumsum(steps, axis=0)


def course_of(method, name, way):
    logits = {"normal": way, "reduction": way}
    derived = method.derive({kind: torch.from_numpy(each[-1]) for kind, each in logits.items()})
    result = SearchResult(
        genotype=Genotype(cells=derived.cells),
        space=SearchSpace(candidates=CANDIDATES, nodes=2),
        method=name,
        granularity=method.layout.granularity,
        draws=method.draws,
        distributions=derived.distributions,
        epochs=EPOCHS,
        steps=EPOCHS * STEPS,
        seconds=1.0,
        seed=1,
        dataset="tiny",
        dataset_digest="0" * 64,
        device="cpu",
    )
    epochs = tuple(range(1, EPOCHS + 1))
    return Course(result, method.layout, epochs, tuple(e * STEPS for e in epochs), logits)


@pytest.mark.parametrize("name", ["darts", "snas", "gdas"])
def test_logits_that_go_straight_decide(name):
    method = method_of(name)
    assert judged(course_of(method, name, straight(method)), method) == ()


@pytest.mark.parametrize("name", ["darts", "snas", "gdas"])
def test_logits_that_wander_do_not(name):
    method = method_of(name)
    reasons = judged(course_of(method, name, wandering(method)), method)
    assert any("where chance alone would have led them" in reason for reason in reasons)


def test_a_choice_that_one_step_changes_is_not_decided():
    method = method_of("darts")
    way = straight(method)
    first = next(c for c in method.layout.of_node(2) if c.operation == "sep_conv_3x3")
    other = next(c for c in method.layout.of_node(2) if c.operation == "max_pool_3x3")
    way[:, other.group, other.index] = way[:, first.group, first.index] - 1e-6
    reasons = judged(course_of(method, "darts", way), method)
    assert any("one step can change the choice" in reason for reason in reasons)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [straight, wandering])
def test_for_data_it_is_the_verdict_of_the_certificate(make, seed):
    method = method_of("data")
    course = course_of(method, "data", make(method, seed))

    def without_numbers(reasons):
        return [reason.split(" (")[0] for reason in reasons]

    ours, theirs = judged(course, method), certify(course, 1).derivation.reasons
    assert without_numbers(ours) == without_numbers(theirs)
