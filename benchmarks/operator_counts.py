"""What torch is asked to do: floating-point operations, and calls that would launch kernels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten

NO_KERNEL = frozenset(
    {
        aten._unsafe_view,
        aten.empty,
        aten.empty_like,
        aten.empty_strided,
        aten.new_empty,
        aten.new_empty_strided,
    }
)
"""Beside views: what makes a tensor and fills in nothing."""


def flop_counter() -> FlopCounterMode:
    """Torch's own, but for the backward of convolutions, whose groups it ignores.

    It counts the weight gradient of a depthwise convolution C times.
    """
    mapping = {aten.convolution_backward: _backward_of_convolution}
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _backward_of_convolution(gradient: Any, x: Any, weight: Any, *args: Any, **_: Any) -> int:
    """As many as the forward pass for each of the gradients of data and weights asked for."""
    transposed, wanted = args[4], args[-1]
    places = math.prod(x if transposed else gradient)
    return 2 * places * math.prod(weight[1:]) * sum(wanted[:2])


class Launches(TorchDispatchMode):
    """Operator calls that compute something: what would be kernel launches on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and count."""
        self.count += not (func.is_view or func.overloadpacket in NO_KERNEL)
        return func(*args, **(kwargs or {}))
