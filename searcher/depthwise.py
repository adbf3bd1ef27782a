"""Depthwise convolution with a backward that keeps off torch's slow roads on the CPU.

On the CPU (torch 2.13, oneDNN) the backward of a dilated depthwise convolution and the weight
gradient of a kernel wider than 3 leave the vectorised code (`benchmarks/operations.py --only
depthwise` has what that costs). Here each gradient is put in terms of what is fast, exactly:

* data: a forward convolution of the gradient with the kernel turned by 180 degrees;
* weight: weight gradients of undilated convolutions of stride 1, on the images of a phase each
  (every d-th pixel), a few columns of the kernel at a time.

Where the stride does not divide the dilation (2 and 1, in reduction cells) torch's own is no
slower, and stays.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.layouts import layout_of, zero_upsample

WIDEST = 3
"""Columns of a kernel whose weight gradient oneDNN keeps in registers."""


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` of one channel a group, with an odd kernel and the padding that keeps a size.

    Anywhere but on the CPU, and under autocast, it is exactly that.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, ceil(H / stride), ceil(W / stride))."""
        stride, dilation = self.stride[0], self.dilation[0]
        slow = dilation > 1 or self.kernel_size[0] > WIDEST
        if slow and dilation % stride == 0 and torch.is_grad_enabled() and _is_plain_cpu(x):
            result: Tensor = _Depthwise.apply(x, self.weight, stride, dilation)  # type: ignore[no-untyped-call]
            return result
        return _convolve(x, self.weight, stride, dilation)


def _is_plain_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        # Without a weight gradient x is not needed, and need not be kept.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.shape, ctx.stride, ctx.phases = x.shape, stride, dilation // stride
        return _convolve(x, weight, stride, dilation)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient, (for_x, for_weight, *_) = gradients[0], ctx.needs_input_grad
        # Of x only rows and columns at multiples of the stride are read.
        stride, phases = ctx.stride, ctx.phases
        data = kernel = None
        if for_x:
            data = _convolve(gradient, weight.flip(2, 3), 1, phases)
            if stride > 1:
                data = zero_upsample(data, stride, ctx.shape, layout_of(data))
        if for_weight:
            kernel = weight_gradient(gradient, x[:, :, ::stride, ::stride], weight.shape[2], phases)
        return data, kernel, None, None


def weight_gradient(gradient: Tensor, x: Tensor, kernel: int, dilation: int) -> Tensor:
    """dL/dweight (C, 1, kernel, kernel) of a convolution of stride 1.

    gradient, x: (N, C, H, W).
    """
    gradient, x, reach = _phases(gradient, dilation), _phases(x, dilation), kernel // 2
    if kernel <= WIDEST:
        return _undilated(gradient, x, (kernel, kernel), (reach, reach))
    # OneDNN pads no image that is lower than the kernel, or slowly.
    above = reach if x.shape[2] < kernel else 0
    padded, parts = functional.pad(x, (reach, reach, above, above)), []
    for first in range(0, kernel, WIDEST):
        columns = min(WIDEST, kernel - first)
        window = padded[..., first : first + x.shape[3] + columns - 1]
        parts.append(_undilated(gradient, window, (kernel, columns), (reach - above, 0)))
    return torch.cat(parts, 3)


def _phases(x: Tensor, count: int) -> Tensor:
    """(N, C, H, W) → (count² · N, C, ceil(H / count), ceil(W / count)): every count-th pixel."""
    if count == 1:
        return x
    samples, channels, height, width = x.shape
    below, right = -height % count, -width % count
    if below or right:
        x = functional.pad(x, (0, right, 0, below))
    rows, columns = (height + below) // count, (width + right) // count
    split = x.permute(0, 2, 3, 1).reshape(samples, rows, count, columns, count, channels)
    phases = split.permute(2, 4, 0, 1, 3, 5).reshape(-1, rows, columns, channels)
    return phases.permute(0, 3, 1, 2)


def _undilated(
    gradient: Tensor, x: Tensor, kernel: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Torch's own weight gradient at stride 1."""
    shape = x.new_empty(x.shape[1], 1, *kernel)
    result: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, shape, None, [1, 1], padding, [1, 1], False, [0, 0], x.shape[1],
        [False, True, False],
    )[1]  # fmt: skip
    return result


def _convolve(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[2] // 2)
    return torch.conv2d(x, weight, None, stride, padding, dilation, x.shape[1])
