"""Operations whose gradients keep the layout in memory that the forward pass chose.

On the CPU torch's batch norm, ReLU and addition are vectorised for dense tensors of one layout. A
gradient that is a slice of a larger one, or that lies otherwise than the value it belongs to, takes
their general roads: the backward of a batch norm of 16 channels at 32x32 takes 6.1 ms for a slice
and 2.1 ms for the other layout, 0.5 ms where the gradient lies like its value (batch 16, one thread
of a busy machine, `benchmarks/operations.py --only "norm backward"`). Torch makes such gradients in
the backward of `cat` (slices) and of strided slices (channels first).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def layout_of(x: Tensor) -> torch.memory_format:
    """Channels last or first, of a dense tensor (N, C, H, W)."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def concatenate(*parts: Tensor) -> Tensor:
    """(N, C_i, H, W) → (N, ΣC_i, H, W), laid out as the first."""
    if len(parts) == 1:
        return parts[0]
    joined: Tensor = _Concatenate.apply(*parts)  # type: ignore[no-untyped-call]
    return joined


class _Concatenate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.layouts = [layout_of(part) for part in parts]
        ctx.channels = [part.shape[1] for part in parts]
        return torch.cat([part.contiguous(memory_format=ctx.layouts[0]) for part in parts], 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        slices = torch.split(gradients[0], ctx.channels, 1)
        return tuple(
            part.contiguous(memory_format=layout)
            for part, layout in zip(slices, ctx.layouts, strict=True)
        )


def subsample(x: Tensor, stride: int) -> Tensor:
    """Every `stride`-th row and column from the first on, dense.

    (N, C, H, W) → (N, C, ceil(H / stride), ceil(W / stride)).
    """
    sampled: Tensor = _Subsample.apply(x, stride)  # type: ignore[no-untyped-call]
    return sampled


class _Subsample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        ctx.shape, ctx.stride, ctx.layout = x.shape, stride, layout_of(x)
        return x[:, :, ::stride, ::stride].contiguous(memory_format=ctx.layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return zero_upsample(gradients[0], ctx.stride, ctx.shape, ctx.layout), None


def zero_upsample(x: Tensor, stride: int, shape: torch.Size, layout: torch.memory_format) -> Tensor:
    """The other way: a tensor of `shape` with x at every `stride`-th row and column, else zero."""
    wide = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout).zero_()
    wide[:, :, ::stride, ::stride] = x
    return wide


def shift(x: Tensor) -> Tensor:
    """y[i, j] = x[i + 1, j + 1], zero where that lies outside, in one copy."""
    return functional.pad(x, (-1, 1, -1, 1))
