"""The joint step: one loss, from which logits and weights learn what they would learn apart."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from compiler.candidates import SEARCH_SPACE
from datac.documents.network import Network
from searcher.alternate import Alternation, Setting
from searcher.augment import Batch
from searcher.method_options import MethodOptions
from searcher.recipes import SearchRecipe, Sizes

CIFAR = Network(skeleton="cifar", channels=4, cells=3, classes=3, input=(3, 12, 12))
RECIPE = SearchRecipe(
    supernet=Sizes(4, 3), size=(12, 12), batch_size=4, epochs=1, clip_norm=1e9, weight_decay=0.0
)
BATCH = Batch(
    torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(5)),
    torch.tensor([0, 1, 2, 0]),
)
NAMES = ["data", "darts", "snas", "gdas"]


pytestmark = pytest.mark.usefixtures("one_thread")


def alternation(name: str, *, aggregation: Any = "sum", **asked: Any) -> Alternation:
    """The same one for the same arguments, in float64."""
    method = MethodOptions(name, **asked).make(SEARCH_SPACE, 2, aggregation, CIFAR)
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    setting = Setting(CIFAR, method, RECIPE, aggregation, seed=2, steps=8, level="single")
    made = Alternation(setting, fabric)
    made.supernet.double()
    return made


def batch() -> Batch:
    return Batch(BATCH.images.double(), BATCH.labels)


def gradients(tensors: dict[str, Tensor]) -> dict[str, Tensor | None]:
    return {name: None if t.grad is None else t.grad.clone() for name, t in tensors.items()}


def statistics(made: Alternation) -> dict[str, Tensor]:
    state = made.supernet.state_dict()
    return {k: v.clone() for k, v in state.items() if k.endswith(("_var", "_tracked"))}


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("name", NAMES)
def test_a_joint_step_has_the_gradients_of_both_steps(name: str, aggregation: str) -> None:
    joint = alternation(name, aggregation=aggregation)
    loss, codes = joint.joint_step(batch(), 0)
    architecture = alternation(name, aggregation=aggregation)
    assert torch.allclose(architecture.architecture_step(batch(), 0), loss, rtol=1e-12)
    # Its generator is of the same seed, so the weight step draws the code of the joint step.
    weights = alternation(name, aggregation=aggregation)
    apart, same = weights.weight_step(batch(), 0)
    assert torch.allclose(apart, loss, rtol=1e-12)
    for kind, code in codes.items():
        assert torch.equal(code, same[kind])
        torch.testing.assert_close(joint.logits[kind], architecture.logits[kind])
    found, wanted = (gradients(dict(m.supernet.named_parameters())) for m in (joint, weights))
    for parameter, gradient in wanted.items():
        if gradient is None:  # a path that was not selected
            assert found[parameter] is None
        else:
            torch.testing.assert_close(found[parameter], gradient, rtol=1e-8, atol=1e-12)
    moved = joint.supernet.state_dict()
    for key, value in weights.supernet.state_dict().items():
        torch.testing.assert_close(moved[key], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["data", "gdas"])
def test_statistics_move_with_the_paths_that_were_drawn_alone(name: str) -> None:
    made = alternation(name)
    before = statistics(made)
    _, codes = made.joint_step(batch(), 0)
    kinds = dict(enumerate(cell.plan.kind for cell in made.supernet.cells))
    for key, value in statistics(made).items():
        steps = key.split(".")
        runs = True
        if len(steps) > 3 and steps[2].startswith("input"):
            cell, node, source = (int(steps[i].lstrip("celnodiput")) for i in range(3))
            layout = made.setting.method.layout
            column = next(
                c for c in layout.paths(node) if c.input == source and steps[3] == c.operation
            )
            runs = bool(codes[kinds[cell]][column.group, column.index])
        assert torch.equal(value, before[key]) != runs, key


def test_the_constraint_moves_the_logits_and_no_weight() -> None:
    plain, bound = alternation("data"), alternation("data", adc=10.0)
    losses = [made.joint_step(batch(), 0)[0] for made in (plain, bound)]
    assert torch.equal(*losses)
    for kind in plain.logits:
        assert not torch.equal(plain.logits[kind], bound.logits[kind])
    a, b = (made.supernet.state_dict() for made in (plain, bound))
    assert all(torch.equal(a[key], b[key]) for key in a)
    first, second = (alternation("data", adc=weight) for weight in (0.0, 10.0))
    assert torch.equal(first.architecture_step(batch(), 0), second.architecture_step(batch(), 0))
    assert not torch.equal(first.logits["normal"], second.logits["normal"])
    torch.testing.assert_close(second.logits["normal"], bound.logits["normal"])


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("data", 5.0, 1.0), ("snas", 1.0, 0.03), ("gdas", 10.0, 0.1)],
)
def test_temperatures_are_those_of_the_method(name: str, first: float, last: float) -> None:
    setting = alternation(name).setting
    assert setting.temperature(0) == first
    assert setting.temperature(7) == pytest.approx(last)
    assert setting.temperature(3) > setting.temperature(4)


def test_the_rate_of_the_logits_falls_with_their_steps_where_the_recipe_says_so() -> None:
    falling = replace(RECIPE, last_architecture_rate=0.0)
    made = alternation("data")
    made.setting = replace(made.setting, recipe=falling, warm_up=2, level="alternating")
    first = falling.architecture_rate_for(made.setting.architecture_steps)
    rates = []
    for step in range(2, 8):
        made.architecture_step(batch(), step)
        rates += [group["lr"] for group in made.architecture_optimizer.param_groups]
    assert rates[0] == first
    assert rates[3] == pytest.approx(first / 2)
    assert rates == sorted(rates, reverse=True)
