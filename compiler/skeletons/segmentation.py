"""Semantic segmentation: the ImageNet backbone under a DeepLab v3 head.

The DATA paper says no more than "head of DeepLab v3" (section 4.3), so what it leaves open follows
DeepLab v3 (arXiv 1706.05587): where a stride is taken away, the cells that follow are dilated
instead, and the rates of the atrous pyramid shrink or grow with the output stride.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.candidates import Place, norm
from compiler.cell import CellPlan
from compiler.ops import Concat, Conv, Dropout, GlobalAvgPool, Relu, ResizeLike
from compiler.scope import Scope
from compiler.skeletons.classification import imagenet_plan, imagenet_stem
from compiler.skeletons.skeleton import Skeleton, conv_norm_relu
from datac.documents.network import Network

BACKBONE_STRIDE = 8
"""What the stem leaves; each reduction cell may double it."""

RATES_AT_16 = (6, 12, 18)
"""Atrous rates at output stride 16 (arXiv 1706.05587, section 3.3); doubled at 8, halved at 32."""

HEAD_DROPOUT = 0.1
"""As in torchvision's DeepLab v3; the paper names none."""


def plan(network: Network) -> tuple[CellPlan, ...]:
    """The ImageNet cells; a reduction past the output stride keeps the size.

    Such a cell keeps the dilation it finds and doubles it for the cells behind it, as DeepLab
    does with its blocks.
    """
    stride, dilation, before, cells = BACKBONE_STRIDE, 1, 2, []
    for cell in imagenet_plan(network):
        halves = cell.kind == "reduction" and stride < (network.output_stride or 0)
        cells.append(
            replace(cell, stride=2 if halves else 1, dilation=dilation, stride_before=before)
        )
        stride *= 2 if halves else 1
        if cell.kind == "reduction" and not halves:
            dilation *= 2
        before = 2 if halves else 1
    return tuple(cells)


def rates(network: Network) -> tuple[int, ...]:
    """The atrous rates for the network's output stride."""
    return tuple(rate * 16 // (network.output_stride or 16) for rate in RATES_AT_16)


def deeplabv3(scope: Scope, features: str, x: str, network: Network) -> str:
    """Atrous spatial pyramid pooling. (N, C, H', W') → (N, classes, H, W)."""
    width = network.head_channels or 0
    branches = [conv_norm_relu(scope.inside("branch0"), "", features, width)]
    for index, rate in enumerate(rates(network), start=1):
        branches.append(_atrous(scope.inside(f"branch{index}"), features, width, rate))
    image = scope.inside("image")
    pooled = conv_norm_relu(image, "", image.add("pool", GlobalAvgPool(), features), width)
    branches.append(image.add("resize", ResizeLike(), pooled, features))
    joined = scope.add("concat", Concat(), *branches)
    projected = conv_norm_relu(scope.inside("project"), "", joined, width)
    dropped = scope.add("dropout", Dropout(HEAD_DROPOUT), projected)
    logits = scope.add("classifier", Conv(width, network.classes, bias=True), dropped)
    return scope.add("resize", ResizeLike(), logits, x)


def fcn(scope: Scope, features: str, x: str, network: Network) -> str:
    """The auxiliary head: 3x3 convolution to a quarter of the width, then the classifier."""
    width = max(scope.type(features).channels // 4, network.classes)
    narrow = conv_norm_relu(scope, "", features, width, kernel=3)
    dropped = scope.add("dropout", Dropout(HEAD_DROPOUT), narrow)
    logits = scope.add("classifier", Conv(width, network.classes, bias=True), dropped)
    return scope.add("resize", ResizeLike(), logits, x)


def _atrous(scope: Scope, x: str, width: int, rate: int) -> str:
    shape, reach = (3, 3), (rate, rate)
    conv = Conv(scope.type(x).channels, width, shape, padding=reach, dilation=reach)
    normed = norm(scope, "norm", scope.add("conv", conv, x), Place(width))
    return scope.add("relu", Relu(), normed)


SEGMENTATION = Skeleton(imagenet_stem, plan, deeplabv3, fcn)
