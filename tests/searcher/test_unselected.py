"""The gradient of the weights of paths, in the precision that autocast leaves to it."""

from typing import Any

import torch
from torch import Tensor, nn

from searcher.unselected import Probe, SharedOutputs, with_gradient_of


class Twice(nn.Module):
    """A convolution whose weights are 2: in bfloat16 where autocast says so."""

    first, has_weights = None, True

    def finish(self, x: Tensor) -> Tensor:
        weight = torch.full((x.shape[1], 1, 1, 1), 2.0)
        return nn.functional.conv2d(x, weight, groups=x.shape[1])


def test_products_of_half_precision_are_added_up_in_float32() -> None:
    """In bfloat16, with eight binary digits, the sum would be 2000."""
    x = torch.ones(1, 1, 1, 1001)
    weights = torch.zeros(1, requires_grad=True)
    candidate: Any = Twice()
    with torch.autocast("cpu", torch.bfloat16):
        total = candidate.finish(x)
        assert total.dtype == torch.bfloat16
        probes = [Probe(0, 0, candidate)]
        out = with_gradient_of(weights, total, probes, {0: x}, SharedOutputs())
    (found,) = torch.autograd.grad(out, weights, torch.ones_like(out))
    assert found.dtype == torch.float32
    assert found.item() == 2002
