"""What is counted in a search step, on operations whose work is known."""

import pytest
import torch
from operator_counts import Launches, flop_counter
from search_step import VARIANTS, Step, method_of, work_of_draw
from torch.nn.functional import conv2d

from datac.documents.network import Network

N, C, SIZE, KERNEL = 2, 6, 5, 3


@pytest.mark.parametrize("groups", [1, 2, C])
@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_each_gradient_of_a_convolution_costs_as_much_as_its_forward_pass(groups, wanted):
    x = torch.randn(N, C, SIZE, SIZE, requires_grad=wanted[0])
    weight = torch.randn(C, C // groups, KERNEL, KERNEL, requires_grad=wanted[1])
    with flop_counter() as forward:
        y = conv2d(x, weight, padding=1, groups=groups)
    assert forward.get_total_flops() == 2 * y.numel() * (C // groups) * KERNEL**2
    with flop_counter() as backward:
        y.sum().backward()
    assert backward.get_total_flops() == sum(wanted) * forward.get_total_flops()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.cat([x, x]),
        lambda x: torch.dot(x[0], x[1]),
        lambda x: x.sqrt(),
        lambda x: x.clone(),
        lambda x: x.add_(1),
        lambda x: x @ x,
        lambda x: x.new_zeros(3),
    ],
)
def test_what_computes_is_a_launch(call):
    x = torch.ones(4, 4)
    with Launches() as launches:
        call(x)
    assert launches.count == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.t(),
        lambda x: x.detach(),
        lambda x: x[1:, None].expand(3, 5, 4),
        lambda x: x.view(2, 8).permute(1, 0),
        lambda x: x.split(2),
        torch.empty_like,
        lambda x: torch.ops.aten._unsafe_view(x, (16,)),
    ],
)
def test_a_view_and_an_empty_tensor_are_none(call):
    x = torch.ones(4, 4)
    with Launches() as launches:
        call(x)
    assert launches.count == 0


def test_a_dense_step_is_counted_without_gradients_of_the_one_before():
    network = Network(skeleton="cifar", channels=4, cells=3, classes=10, input=(3, 8, 8))
    method = method_of("node", 2, network)
    step = Step(VARIANTS["dense"], method, network, 2, torch.device("cpu"))
    step.give_momentum()
    counts = []
    for _ in range(2):
        step.seed(0)
        with Launches() as launches:
            step.step()
        counts.append(launches.count)
    logits = len(step.logits)
    assert 0 <= counts[1] - counts[0] <= logits


def test_counts_are_those_of_one_draw():
    network = Network(skeleton="cifar", channels=4, cells=3, classes=10, input=(3, 8, 8))
    method = method_of("node", 2, network)
    step = Step(VARIANTS["sparse"], method, network, 2, torch.device("cpu"))
    step.give_momentum()
    first, other, again = (work_of_draw(step, seed) for seed in (0, 1, 0))
    assert first == again
    assert all(first[name] != other[name] for name in first)
