"""Weights that are not those of the file: stale, mixed up, damaged, or rounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.ops import BatchNorm, Conv
from compiler.precision import rounded
from exporters.faults.fault import Fault, Site, with_op, with_weight


def _filters(site: Site) -> NDArray[np.float32] | None:
    """(out, in / groups, kernel) of a convolution."""
    if not isinstance(site.node.op, Conv):
        return None
    return site.graph.weights[site.node.weight_name("weight")].astype(np.float32)


def stale(site: Site) -> Graph | None:
    """The convolution as it was a training step of a thousandth before."""
    weight = _filters(site)
    if weight is None:
        return None
    step = site.draw.standard_normal(weight.shape) * weight.std() * 1e-3
    return with_weight(site, "weight", weight + step)


def scaled(site: Site) -> Graph | None:
    """One per cent too large."""
    weight = _filters(site)
    return None if weight is None else with_weight(site, "weight", weight * 1.01)


def flipped_bit(site: Site) -> Graph | None:
    """One bit of one value: a high one of the mantissa, or one of the exponent."""
    weight = _filters(site)
    if weight is None:
        return None
    bits = weight.view(np.uint32).reshape(-1)
    at = site.draw.integers(bits.size)
    bits[at] ^= np.uint32(1 << int(site.draw.integers(18, 30)))  # of a copy, as `weight` is
    return with_weight(site, "weight", weight) if np.isfinite(weight).all() else None


def swapped_channels(site: Site) -> Graph | None:
    """Two filters have changed places."""
    weight = _filters(site)
    if weight is None or len(weight) < 2:
        return None
    order = np.arange(len(weight))
    first, second = site.draw.choice(len(weight), 2, replace=False)
    order[[first, second]] = order[[second, first]]
    return with_weight(site, "weight", weight[order])


def zero_filter(site: Site) -> Graph | None:
    """One filter was never loaded."""
    weight = _filters(site)
    if weight is None:
        return None
    changed = weight.copy()
    changed[site.draw.integers(len(weight))] = 0
    return with_weight(site, "weight", changed)


def transposed_kernel(site: Site) -> Graph | None:
    """Height and width of the kernel exchanged."""
    weight = _filters(site)
    if weight is None or weight.shape[2] != weight.shape[3] or weight.shape[2] == 1:
        return None
    return with_weight(site, "weight", weight.swapaxes(2, 3))


def zero_ring(site: Site) -> Graph | None:
    """A 5x5 or larger kernel whose outermost values are lost."""
    weight = _filters(site)
    if weight is None or min(weight.shape[2:]) < 5:
        return None
    changed = np.zeros_like(weight)
    changed[:, :, 1:-1, 1:-1] = weight[:, :, 1:-1, 1:-1]
    return with_weight(site, "weight", changed)


def those_of_another(site: Site) -> Graph | None:
    """The filters of another convolution of the same shape."""
    weight = _filters(site)
    if weight is None:
        return None
    others = [
        node.weight_name("weight")
        for node in site.graph.nodes()
        if node.op == site.node.op and node.name != site.node.name
    ]
    if not others:
        return None
    return with_weight(site, "weight", site.graph.weights[others[site.draw.integers(len(others))]])


def in_float16(site: Site) -> Graph | None:
    """Rounded to float16 on the way."""
    weight = _filters(site)
    return None if weight is None else with_weight(site, "weight", rounded(weight, "float16"))


def in_int8(site: Site) -> Graph | None:
    """Rounded to 255 steps."""
    weight = _filters(site)
    if weight is None or not weight.any():
        return None
    step = np.abs(weight).max() / 127
    return with_weight(site, "weight", np.round(weight / step) * step)


# ---- batch norms -------------------------------------------------------------------------------


def _norm(site: Site, suffix: str) -> NDArray[np.float32] | None:
    if not (isinstance(site.node.op, BatchNorm) and site.node.op.affine):
        return None
    return site.graph.weights[site.node.weight_name(suffix)].astype(np.float32)


def lost_shift(site: Site) -> Graph | None:
    """The batch norm's shift is zero."""
    bias = _norm(site, "bias")
    return None if bias is None else with_weight(site, "bias", np.zeros_like(bias))


def lost_scale(site: Site) -> Graph | None:
    """The batch norm's scale is one."""
    gain = _norm(site, "weight")
    return None if gain is None else with_weight(site, "weight", np.ones_like(gain))


def stale_mean(site: Site) -> Graph | None:
    """The running mean of another time, a hundredth of a deviation away."""
    mean, variance = _norm(site, "running_mean"), _norm(site, "running_var")
    if mean is None or variance is None:
        return None
    away = site.draw.standard_normal(mean.shape) * np.sqrt(variance) * 1e-2
    return with_weight(site, "running_mean", mean + away)


def stale_variance(site: Site) -> Graph | None:
    """The running variance of another time, five per cent larger."""
    variance = _norm(site, "running_var")
    return None if variance is None else with_weight(site, "running_var", variance * 1.05)


def other_epsilon(site: Site) -> Graph | None:
    """1e-3, as another framework has it."""
    if not isinstance(site.node.op, BatchNorm):
        return None
    return with_op(site, replace(site.node.op, epsilon=1e-3))


def lost_epsilon(site: Site) -> Graph | None:
    """None at all."""
    if not isinstance(site.node.op, BatchNorm):
        return None
    return with_op(site, replace(site.node.op, epsilon=1e-12))


WEIGHTS: dict[str, Fault] = {
    "stale weight": Fault("weights", stale),
    "scaled weight": Fault("weights", scaled),
    "flipped bit": Fault("weights", flipped_bit),
    "swapped channels": Fault("weights", swapped_channels),
    "zero filter": Fault("weights", zero_filter),
    "transposed kernel": Fault("weights", transposed_kernel),
    "zero ring": Fault("weights", zero_ring),
    "weights of another": Fault("weights", those_of_another),
    "float16 weights": Fault("weights", in_float16, precisions=("f32",)),
    "int8 weights": Fault("weights", in_int8),
    "lost shift": Fault("weights", lost_shift),
    "lost scale": Fault("weights", lost_scale),
    "stale mean": Fault("weights", stale_mean),
    "stale variance": Fault("weights", stale_variance),
    "epsilon 1e-3": Fault("weights", other_epsilon),
    "epsilon lost": Fault("weights", lost_epsilon),
}
