"""Probabilities in proportion to the logits themselves, as DATA's released code has them.

    p = max(α, FLOOR) / Σ max(α, FLOOR)

There it is relu(α) / (Σ relu(α) + 1e-7). A logit at or below 0 then has no probability and no
gradient: its candidate is never drawn again and never comes back, and a group where that befell
all draws from noise. Two things keep a logit alive here. Under the floor it still has the
probability that the floor has, so it is drawn now and then. And of the gradient only that part is
held back that would push it further down, as a projection onto α ≥ FLOOR would: the other part
lifts it as if the floor were not there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

START = 1.0
"""Around which the logits begin (the authors' `model_search_relu.py`)."""

FLOOR = 0.01
"""A hundredth of what a logit begins with. d log p / dα = 1 / α, so a smaller one would make the
gradients of what stands there larger without bound; a larger one could not tell a bad candidate
from a middling one."""


def log_clamped(logits: Tensor) -> Tensor:
    """The scores log max(α, FLOOR), whose softmax is p. (G, n) → (G, n)."""
    clamped: Tensor = _Clamped.apply(logits)  # type: ignore[no-untyped-call]
    return clamped.log()


class _Clamped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp(min=FLOOR)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,), (gradient,) = ctx.saved_tensors, gradients
        return gradient.masked_fill((values <= FLOOR) & (gradient > 0), 0.0)
