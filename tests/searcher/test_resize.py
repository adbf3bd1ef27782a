"""The resize of a training: values and gradients of torch's own, by other arithmetic."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ops import ResizeLike
from compiler.torch_module import stock_module
from searcher.fast_modules import fast_module
from searcher.resize import SeparableResize, interpolation

SIDES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(deadline=None, max_examples=60)
@given(
    before=SIDES,
    after=SIDES,
    layout=st.sampled_from([torch.channels_last, torch.contiguous_format]),
)
def test_values_and_gradients_are_torchs(before, after, layout) -> None:
    x = torch.randn(2, 3, *before, dtype=torch.float64).contiguous(memory_format=layout)
    like = torch.empty(2, 1, *after)
    results = []
    for module in (stock_module(ResizeLike()), fast_module(ResizeLike())):
        of_x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        y = module(of_x, like)
        loss = (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum()
        results.append([y, *torch.autograd.grad(loss, [of_x])])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_float32_is_as_near_to_float64_as_torchs_own() -> None:
    x, like = torch.randn(1, 11, 12, 15), torch.empty(1, 3, 180, 240)
    exact = stock_module(ResizeLike())(x.double(), like)
    errors = [
        (module(x, like) - exact).abs().max().item()
        for module in (stock_module(ResizeLike()), fast_module(ResizeLike()))
    ]
    assert errors[1] <= max(2 * errors[0], 2e-6)


def test_an_evaluation_resizes_as_the_compiled_model_does() -> None:
    x, like = torch.randn(1, 2, 5, 7), torch.empty(1, 3, 17, 12)
    ours = fast_module(ResizeLike()).eval()
    assert isinstance(ours, SeparableResize)
    assert torch.equal(ours(x, like), stock_module(ResizeLike())(x, like))


def test_autocast_keeps_torchs_own() -> None:
    x, like = torch.randn(1, 2, 5, 7), torch.empty(1, 3, 17, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = fast_module(ResizeLike()).train()(x, like)
    assert torch.equal(y, stock_module(ResizeLike())(x, like))


@pytest.mark.parametrize(("before", "after"), [(1, 9), (9, 1), (5, 20), (20, 5)])
def test_every_row_of_an_interpolation_is_an_average(before: int, after: int) -> None:
    matrix = interpolation(before, after)
    assert matrix.shape == (after, before)
    assert matrix.min() >= 0
    torch.testing.assert_close(matrix.sum(1), torch.ones(after, dtype=torch.float64))


def test_a_matrix_first_made_in_an_evaluation_can_be_trained_with() -> None:
    interpolation.cache_clear()
    with torch.inference_mode():
        interpolation(6, 11)
    x = torch.randn(1, 2, 6, 6, requires_grad=True)
    fast_module(ResizeLike()).train()(x, torch.empty(1, 1, 11, 11)).sum().backward()
    assert x.grad is not None
