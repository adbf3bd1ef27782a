"""The gradients of depthwise convolutions against torch's own, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ops import BatchNorm, Conv
from compiler.torch_module import stock_module
from searcher.depthwise import DepthwiseConv2d
from searcher.fast_modules import PointwiseConv2d, fast_module


def pair(op: Conv | BatchNorm) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Torch's module and ours, of the same weights."""
    torch.manual_seed(0)
    stock = stock_module(op).double()
    ours = fast_module(op).double()
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def assert_same(op: Conv | BatchNorm, x: torch.Tensor) -> None:
    results = []
    for module in pair(op):
        of_x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        y = module(of_x)
        loss = (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum()
        learning = list(module.parameters())
        results.append([y, *torch.autograd.grad(loss, [of_x, *learning])])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.sampled_from([1, 2, 3]),
    dilation=st.sampled_from([1, 2, 3, 4]),
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    channels=st.integers(2, 9),
    layout=st.sampled_from([torch.channels_last, torch.contiguous_format]),
)
def test_depthwise(kernel, stride, dilation, size, channels, layout) -> None:
    reach = dilation * (kernel // 2)
    op = Conv(
        channels,
        channels,
        (kernel, kernel),
        (stride, stride),
        (reach, reach),
        (dilation, dilation),
        groups=channels,
    )
    assert isinstance(fast_module(op), DepthwiseConv2d)
    x = torch.randn(2, channels, *size, dtype=torch.float64).contiguous(memory_format=layout)
    assert_same(op, x)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_pointwise_and_batch_norm(layout) -> None:
    x = torch.randn(3, 6, 5, 4, dtype=torch.float64).contiguous(memory_format=layout)
    wide = torch.randn(3, 8, 5, 4, dtype=torch.float64).contiguous(memory_format=layout)
    assert isinstance(fast_module(Conv(6, 4)), PointwiseConv2d)
    assert_same(Conv(6, 4), x)
    assert_same(Conv(8, 4, stride=(2, 2)), wide)
    assert_same(BatchNorm(6, affine=False), x)


@pytest.mark.parametrize(
    "op",
    [
        Conv(4, 4, (3, 3), (1, 1), (0, 0), groups=4),  # no padding
        Conv(4, 4, (3, 5), (1, 1), (1, 2), groups=4),  # not square
        Conv(4, 8, (3, 3), (1, 1), (1, 1), groups=4),  # two channels of each
        Conv(4, 4, (1, 1), (2, 1)),
        Conv(4, 4, bias=True),
    ],
    ids=str,
)
def test_what_is_not_meant_stays_torchs_own(op: Conv) -> None:
    assert type(fast_module(op)) is torch.nn.Conv2d


def test_weights_alone_or_the_input_alone() -> None:
    """An architecture step asks for the one, the first layer of a weight step for the other."""
    stock, ours = pair(Conv(4, 4, (5, 5), (1, 1), (4, 4), (2, 2), groups=4))
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    for module in (stock, ours):
        module(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, stock.weight.grad, rtol=1e-12, atol=1e-12)
    gradients = []
    for module in (stock, ours):
        module.weight.requires_grad_(False)
        of_x = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(module(of_x).square().sum(), of_x)[0])
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
