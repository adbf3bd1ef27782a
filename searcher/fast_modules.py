"""The modules that a supernet and a child in training run: less work on the CPU.

Weights and values are those of `Op.to_torch`; in training the order of additions may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.ops import BatchNorm, Concat, Conv, Op, ResizeLike, Shift
from searcher.depthwise import DepthwiseConv2d
from searcher.layouts import concatenate, shift, subsample
from searcher.resize import SeparableResize


def fast_module(op: Op) -> Callable[..., Any]:
    """What computes an operation."""
    match op:
        case Conv(bias=False):
            return _convolution(op)
        case BatchNorm():
            return LeanBatchNorm2d(op.channels, eps=op.epsilon, affine=op.affine)
        case ResizeLike():
            return SeparableResize(op)
        case Concat():
            return concatenate
        case Shift():
            return shift
        case _:
            return op.to_torch()


def _convolution(op: Conv) -> Callable[..., Any]:
    square = all(pair[0] == pair[1] for pair in (op.kernel, op.stride, op.dilation))
    same = all(
        p == d * (k // 2) and k % 2
        for p, d, k in zip(op.padding, op.dilation, op.kernel, strict=True)
    )
    if square and same and op.groups == op.in_channels == op.out_channels:
        return DepthwiseConv2d(**_arguments(op))
    if square and same and op.groups == 1 and op.kernel == (1, 1):
        return PointwiseConv2d(**_arguments(op))
    return op.to_torch()


def _arguments(op: Conv) -> dict[str, Any]:
    return {
        "in_channels": op.in_channels,
        "out_channels": op.out_channels,
        "kernel_size": op.kernel,
        "stride": op.stride,
        "padding": op.padding,
        "dilation": op.dilation,
        "groups": op.groups,
        "bias": False,
    }


class PointwiseConv2d(nn.Conv2d):
    """In training, a 1x1 convolution as a matrix product where channels lie last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, K, ceil(H / stride), ceil(W / stride))."""
        last = x.is_contiguous(memory_format=torch.channels_last)
        if self.training and last and x.device.type == "cpu":
            read = x if self.stride == (1, 1) else subsample(x, self.stride[0])
            rows = functional.linear(read.permute(0, 2, 3, 1), self.weight.flatten(1))
            return rows.permute(0, 3, 1, 2)
        return torch.conv2d(x, self.weight, None, self.stride)


class LeanBatchNorm2d(nn.BatchNorm2d):
    """Batch norm without the checks of shapes, which a graph has made already."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        if not self.training or self.track_running_stats:
            return super().forward(x)
        return torch.batch_norm(
            x, self.weight, self.bias, None, None, True, 0.0, self.eps, torch.backends.cudnn.enabled
        )
