"""The two classification networks of DARTS, which DATA uses: CIFAR and ImageNet."""

from __future__ import annotations

from compiler.candidates import Place, norm
from compiler.cell import CellPlan
from compiler.ops import AvgPool, Conv, Flatten, GlobalAvgPool, Linear, Relu
from compiler.scope import Scope
from compiler.skeletons.skeleton import Skeleton, conv_norm
from datac.documents.genotype import CellKind
from datac.documents.network import Network

STEM_MULTIPLIER = 3


def reductions(network: Network) -> tuple[int, int]:
    """The cells that reduce: a third and two thirds down (DARTS `model.py`)."""
    return network.cells // 3, 2 * network.cells // 3


def plan(network: Network, *, reduced_before: bool = False) -> tuple[CellPlan, ...]:
    """Normal cells with two reductions, the width doubling at each."""
    channels, cells = network.channels, []
    for index in range(network.cells):
        reduces = index in reductions(network)
        channels *= 2 if reduces else 1
        kind: CellKind = "reduction" if reduces else "normal"
        stride = 2 if reduces else 1
        cells.append(CellPlan(index, kind, channels, stride, reduced_before=reduced_before))
        reduced_before = reduces
    return tuple(cells)


def classifier(scope: Scope, features: str, x: str, network: Network) -> str:
    """Global average pool and linear layer. (N, C, H, W) → (N, classes)."""
    del x
    pooled = scope.add("pool", GlobalAvgPool(), features)
    flat = scope.add("flatten", Flatten(), pooled)
    return scope.add("linear", Linear(scope.type(flat).channels, network.classes), flat)


def cifar_stem(scope: Scope, x: str, network: Network) -> tuple[str, str]:
    """One 3x3 convolution; both inputs of the first cell are its result."""
    stem = conv_norm(scope, "", x, STEM_MULTIPLIER * network.channels)
    return stem, stem


def imagenet_stem(scope: Scope, x: str, network: Network) -> tuple[str, str]:
    """Three stride-2 convolutions: the first cell reads a quarter and an eighth of the map."""
    channels = network.channels
    half = scope.add("relu0", Relu(), conv_norm(scope, "0", x, channels // 2, stride=2))
    quarter = conv_norm(scope, "1", half, channels, stride=2)
    eighth = conv_norm(scope, "2", scope.add("relu1", Relu(), quarter), channels, stride=2)
    return quarter, eighth


def _auxiliary(
    scope: Scope, features: str, network: Network, *, stride: int, last_norm: bool
) -> str:
    # The published pooling leaves 2x2 on the published input, and the 2x2 convolution then 1x1;
    # the global pool behind it changes nothing there and lets other sizes through.
    pooled = scope.add("pool0", AvgPool(5, stride, 0), scope.add("relu0", Relu(), features))
    narrow = conv_norm(scope, "0", pooled, 128, kernel=1)
    wide = scope.add("conv1", Conv(128, 768, kernel=(2, 2)), scope.add("relu1", Relu(), narrow))
    wide = norm(scope, "norm1", wide, Place(768)) if last_norm else wide
    return classifier(scope, scope.add("relu2", Relu(), wide), "", network)


def cifar_auxiliary(scope: Scope, features: str, x: str, network: Network) -> str:
    """The auxiliary head of DARTS on CIFAR (pool stride 3)."""
    del x
    return _auxiliary(scope, features, network, stride=3, last_norm=True)


def imagenet_auxiliary(scope: Scope, features: str, x: str, network: Network) -> str:
    """The auxiliary head of DARTS on ImageNet: pool stride 2, no last batch norm, on purpose."""
    del x
    return _auxiliary(scope, features, network, stride=2, last_norm=False)


def imagenet_plan(network: Network) -> tuple[CellPlan, ...]:
    """As on CIFAR, but the stem's two results differ in size."""
    return plan(network, reduced_before=True)


# Below these the 5x5 pool leaves less than the 2x2 that the auxiliary head's convolution reads.
CIFAR = Skeleton(cifar_stem, plan, classifier, cifar_auxiliary, smallest_auxiliary_map=8)
IMAGENET = Skeleton(
    imagenet_stem, imagenet_plan, classifier, imagenet_auxiliary, smallest_auxiliary_map=7
)
