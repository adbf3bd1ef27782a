"""The candidate operations of the search space, each one function over primitives.

The structures are those of DARTS (`operations.py`), which DATA inherits. Two forms exist:

* `search`: batch norms without scale and shift, and one behind each pool, so that no candidate
  wins by its scale;
* `child`: affine batch norms, none behind pools.

Supernet, child, cost and export all build from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from compiler.graph import Graph
from compiler.ops import AvgPool, BatchNorm, Concat, Conv, Identity, Input, MaxPool, Relu, Shift
from compiler.ops.op import TensorType
from compiler.scope import Scope

Form = Literal["search", "child"]

NONE = "none"
"""No connection. A search may choose it; a genotype never names it."""


@dataclass(frozen=True)
class Place:
    """Where a candidate stands: width, stride, the dilation that output stride adds, and form.

    unstrided: it stands where a reduction would have stride 2, had the output stride left it.
    """

    channels: int
    stride: int = 1
    dilation: int = 1
    form: Form = "child"
    unstrided: bool = False

    @property
    def reduces(self) -> bool:
        """Whether this is a place of reduction, with its stride or without."""
        return self.stride == 2 or self.unstrided

    @property
    def affine(self) -> bool:
        """Whether batch norms have a scale and shift."""
        return self.form == "child"


Candidate = Callable[[Scope, str, Place], str]


def norm(scope: Scope, local: str, x: str, place: Place) -> str:
    """Batch norm in the form of the place."""
    return scope.add(local, BatchNorm(place.channels, affine=place.affine), x)


def relu_conv_norm(scope: Scope, x: str, place: Place) -> str:
    """ReLU, 1x1 convolution, batch norm: brings an input of a cell to its width."""
    activated = scope.add("relu", Relu(), x)
    conv = Conv(scope.type(x).channels, place.channels)
    return norm(scope, "norm", scope.add("conv", conv, activated), place)


def factorized_reduce(scope: Scope, x: str, place: Place) -> str:
    """Halve the map: two 1x1 stride-2 convolutions, the second on the map shifted by one.

    (N, C, H, W) → (N, channels, ceil(H / 2), ceil(W / 2)); equal to the published one on even maps.

    Where an output stride has taken the stride away, both convolutions read every pixel, without
    a shift: the same tensors, so that weights of one output stride fit every other.
    """
    stride = (place.stride, place.stride)
    half = Conv(scope.type(x).channels, place.channels // 2, stride=stride)
    activated = scope.add("relu", Relu(), x)
    even = scope.add("conv0", half, activated)
    shifted = scope.add("shift", Shift(), activated) if place.stride == 2 else activated
    odd = scope.add("conv1", half, shifted)
    return norm(scope, "norm", scope.add("concat", Concat(), even, odd), place)


def skip_connect(scope: Scope, x: str, place: Place) -> str:
    """Identity; factorized reduce on the inputs of a reduction cell."""
    if place.reduces:
        return factorized_reduce(scope, x, place)
    return scope.add("identity", Identity(), x)


def pool(scope: Scope, x: str, place: Place, *, kind: type[MaxPool] | type[AvgPool]) -> str:
    """3x3 pooling; a batch norm behind it in the search form."""
    pooled = scope.add("pool", kind(3, place.stride, 1), x)
    return norm(scope, "norm", pooled, place) if place.form == "search" else pooled


def _depthwise_separable(
    scope: Scope, x: str, place: Place, kernel: int, stride: int, dilation: int, index: int
) -> str:
    channels, reach = place.channels, dilation * (kernel - 1) // 2
    depthwise = Conv(
        channels,
        channels,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(reach, reach),
        dilation=(dilation, dilation),
        groups=channels,
    )
    x = scope.add(f"relu{index}", Relu(), x)
    x = scope.add(f"depthwise{index}", depthwise, x)
    x = scope.add(f"pointwise{index}", Conv(channels, channels), x)
    return norm(scope, f"norm{index}", x, place)


def sep_conv(scope: Scope, x: str, place: Place, *, kernel: int) -> str:
    """[ReLU, depthwise, 1x1, batch norm] twice; the stride is in the first."""
    x = _depthwise_separable(scope, x, place, kernel, place.stride, place.dilation, 0)
    return _depthwise_separable(scope, x, place, kernel, 1, place.dilation, 1)


def dil_conv(scope: Scope, x: str, place: Place, *, kernel: int) -> str:
    """ReLU, depthwise with dilation 2, 1x1, batch norm, once."""
    return _depthwise_separable(scope, x, place, kernel, place.stride, 2 * place.dilation, 0)


def conv_7x1_1x7(scope: Scope, x: str, place: Place) -> str:
    """ReLU, 1x7 then 7x1 convolution, batch norm (NASNet, AmoebaNet)."""
    channels, stride, reach = place.channels, place.stride, 3 * place.dilation
    row = Conv(channels, channels, (1, 7), (1, stride), (0, reach), (1, place.dilation))
    column = Conv(channels, channels, (7, 1), (stride, 1), (reach, 0), (place.dilation, 1))
    x = scope.add("relu", Relu(), x)
    x = scope.add("conv_1x7", row, x)
    x = scope.add("conv_7x1", column, x)
    return norm(scope, "norm", x, place)


CANDIDATES: dict[str, Candidate] = {
    "max_pool_3x3": partial(pool, kind=MaxPool),
    "avg_pool_3x3": partial(pool, kind=AvgPool),
    "skip_connect": skip_connect,
    "sep_conv_3x3": partial(sep_conv, kernel=3),
    "sep_conv_5x5": partial(sep_conv, kernel=5),
    "dil_conv_3x3": partial(dil_conv, kernel=3),
    "dil_conv_5x5": partial(dil_conv, kernel=5),
    "sep_conv_7x7": partial(sep_conv, kernel=7),
    "conv_7x1_1x7": conv_7x1_1x7,
}
"""Name in genotypes → builder. The first seven, with `none`, are the method's own space."""

SEARCH_SPACE: tuple[str, ...] = (NONE, *tuple(CANDIDATES)[:7])
"""The eight candidates of DATA and DARTS, in the order of the authors' code."""


def candidate_graph(name: str, x: TensorType, place: Place) -> Graph:
    """One candidate alone: input `x`, output `y`."""
    graph = Graph()
    source = graph.add("x", Input(x.shape, x.dtype))
    graph.set_output("y", CANDIDATES[name](Scope(graph), source, place))
    return graph
