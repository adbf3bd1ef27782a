"""Values and gradients are torch's own; what comes back lies in memory as what went in."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ops import Concat, Conv, Shift
from compiler.torch_module import stock_module
from searcher.fast_modules import fast_module
from searcher.layouts import subsample

LAYOUTS = st.sampled_from([torch.channels_last, torch.contiguous_format])
SIDES = st.tuples(st.integers(2, 9), st.integers(2, 9))


def laid(shape, layout) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).contiguous(memory_format=layout)


def weighed(y: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient differs everywhere and lies channels first."""
    return (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum()


def gradients_of(call, inputs) -> list[torch.Tensor]:
    fresh = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs]
    y = call(*fresh)
    return [y, *torch.autograd.grad(weighed(y), fresh)]


@settings(deadline=None, max_examples=40)
@given(channels=st.lists(st.integers(2, 5), min_size=2, max_size=4), sides=SIDES, layout=LAYOUTS)
def test_concatenation(channels, sides, layout) -> None:
    parts = [laid((3, count, *sides), layout) for count in channels]
    expected = gradients_of(stock_module(Concat()), parts)
    found = gradients_of(fast_module(Concat()), parts)
    for want, got in zip(expected, found, strict=True):
        assert torch.equal(got, want)
        assert got.is_contiguous(memory_format=layout)


def test_parts_of_two_layouts_are_laid_out_as_the_first() -> None:
    parts = [laid((2, 3, 4, 5), torch.channels_last), laid((2, 2, 4, 5), torch.contiguous_format)]
    y, first, second = gradients_of(fast_module(Concat()), parts)
    assert torch.equal(y, torch.cat(parts, 1))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert second.is_contiguous()


@settings(deadline=None, max_examples=40)
@given(sides=SIDES, layout=LAYOUTS)
def test_shift(sides, layout) -> None:
    inputs = [laid((2, 3, *sides), layout)]
    expected = gradients_of(stock_module(Shift()), inputs)
    for want, got in zip(expected, gradients_of(fast_module(Shift()), inputs), strict=True):
        assert torch.equal(got, want)


@settings(deadline=None, max_examples=40)
@given(sides=SIDES, stride=st.integers(1, 3), layout=LAYOUTS)
def test_subsample(sides, stride, layout) -> None:
    inputs = [laid((2, 3, *sides), layout)]
    expected = gradients_of(lambda x: x[:, :, ::stride, ::stride], inputs)
    y, of_x = gradients_of(lambda x: subsample(x, stride), inputs)
    assert torch.equal(y, expected[0])
    assert torch.equal(of_x, expected[1])
    assert y.is_contiguous(memory_format=layout)
    assert of_x.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("size", [(6, 8), (7, 5)], ids=str)
def test_the_halves_of_a_factorized_reduce(size, mode) -> None:
    """Shift, then a 1x1 convolution of stride 2: the rows that a reduction reads."""
    torch.manual_seed(0)
    half = Conv(8, 4, stride=(2, 2))
    stock = stock_module(half).double()
    ours = fast_module(half).double()
    ours.load_state_dict(stock.state_dict())
    getattr(stock, mode)(), getattr(ours, mode)()
    inputs = [laid((2, 8, *size), torch.channels_last)]
    expected = gradients_of(lambda x: stock(stock_module(Shift())(x)), inputs)
    found = gradients_of(lambda x: ours(fast_module(Shift())(x)), inputs)
    for want, got in zip(expected, found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
