"""Bilinear resize as two matrix products, for the training of networks with a map for an answer."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.ops import ResizeLike


class SeparableResize(nn.Module):
    """`ResizeLike`, in training on the CPU as rows · x · columns.

    Bilinear interpolation takes rows and columns one after the other, each a linear map. The class
    scores at the size of the image are the largest tensor of a step; with torch's own
    resize this and the loss behind it take 2.3 times as long (one thread, 11 classes, 12x15 to
    180x240: `benchmarks/operations.py --only resize`). The scores also come out channel by channel,
    whatever went in, which the softmax after them is faster on.
    """

    def __init__(self, op: ResizeLike) -> None:
        super().__init__()
        self.resize = op.to_torch()

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W'), the size of `like`."""
        plain = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if not (self.training and plain):
            unchanged: Tensor = self.resize(x, like)
            return unchanged
        rows, columns = (
            interpolation(before, after).to(x.dtype)
            for before, after in zip(x.shape[2:], like.shape[2:], strict=True)
        )
        return rows @ (x.contiguous() @ columns.T)


@lru_cache(maxsize=64)
def interpolation(before: int, after: int) -> Tensor:
    """The matrix (after, before) that interpolates linearly, in float64; corners not aligned."""
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(before, dtype=torch.float64)[None]
        resized = functional.interpolate(unit, size=(after,), mode="linear", align_corners=False)
        return resized[0].T.contiguous()
