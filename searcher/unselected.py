"""The gradient of a path's weight, for paths that a step does not run.

    x_j = Σ_k w_k · o_k(x_i)   gives   dL/dw_k = <dL/dx_j, o_k(x_i)>

for every k, w_k = 0 included. No gradient flows through an operation of weight 0, so it runs
without a graph, when dL/dx_j is there, and its output is forgotten at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from compiler.ops import Op
from searcher.candidate import SearchCandidate


@dataclass(frozen=True, eq=False)
class Probe:
    """A path whose output is asked for: `index` in the node's weights, the input's number."""

    index: int
    source: int
    candidate: SearchCandidate


@dataclass
class SharedOutputs:
    """What the probes of one cell have in common, kept until the last node that asks is done.

    A candidate without weights gives every node that reads a value the same output.
    """

    readers: Counter[int] = field(default_factory=Counter)
    """How many nodes have yet to probe an input."""
    _values: dict[tuple[int, Op, bool], Tensor] = field(default_factory=dict)

    def expect(self, probes: Sequence[Probe]) -> None:
        """One more node will ask for these."""
        self.readers.update({probe.source for probe in probes})

    def output(self, probe: Probe, x: Tensor) -> Tensor:
        """The candidate's output on `x`, the value of its input."""
        candidate = probe.candidate
        if candidate.first is None:
            return candidate.finish(x)
        if candidate.has_weights:
            key = (probe.source, candidate.first, False)
            if key not in self._values:
                self._values[key] = candidate.begin(x)
            return candidate.finish(self._values[key])
        key = (probe.source, candidate.first, True)
        if key not in self._values:
            self._values[key] = candidate.finish(candidate.begin(x))
        return self._values[key]

    def done(self, probes: Sequence[Probe]) -> None:
        """A node has asked; what nobody else will ask for is forgotten."""
        for source in {probe.source for probe in probes}:
            self.readers[source] -= 1
            if not self.readers[source]:
                for key in [key for key in self._values if key[0] == source]:
                    del self._values[key]


def with_gradient_of(
    weights: Tensor,
    total: Tensor,
    probes: Sequence[Probe],
    values: Mapping[int, Tensor],
    shared: SharedOutputs,
) -> Tensor:
    """`total`, with the gradient that it has with respect to the weights of the probes.

    weights: (K). values: the inputs by number. The batch norms must be as in the forward pass
    when the gradient is asked for.
    """
    shared.expect(probes)
    sources = sorted({probe.source for probe in probes})
    inputs = [values[source].detach() for source in sources]
    job = _Job(tuple(probes), tuple(sources), shared)
    result: Tensor = _Probed.apply(total, weights, job, *inputs)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True, eq=False)
class _Job:
    probes: tuple[Probe, ...]
    sources: tuple[int, ...]
    shared: SharedOutputs


class _Probed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total: Tensor, weights: Tensor, job: _Job, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.job, ctx.like = job, weights.detach()
        ctx.autocast = _autocast_of(total.device.type)
        return total.view_as(total)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        job, (gradient,) = ctx.job, gradients
        values = dict(zip(job.sources, ctx.saved_tensors, strict=True))
        # <g, o_k> in a half precision would be rounded to two or three digits at the end.
        flat = _flat(gradient).to(torch.promote_types(gradient.dtype, torch.float32))
        products = [ctx.like.new_zeros(())] * len(ctx.like)
        with torch.no_grad(), ctx.autocast:
            for probe in job.probes:
                output = job.shared.output(probe, values[probe.source])
                products[probe.index] = torch.dot(_flat(output).to(flat.dtype), flat)
        job.shared.done(job.probes)
        gathered = torch.stack([product.to(ctx.like.dtype) for product in products])
        return gradient, gathered, None, *[None] * len(job.sources)


def _autocast_of(device: str) -> AbstractContextManager[object]:
    """The precision of the forward pass, for what the backward pass runs of it."""
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return torch.autocast(device, dtype, enabled=enabled)


def _flat(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N·H·W·C): no copy where the channels come last in memory."""
    return x.permute(0, 2, 3, 1).reshape(-1)


def scales_of(
    weights: Tensor, norms: Mapping[int, nn.BatchNorm2d], scale: float
) -> dict[int, Tensor]:
    """A scale of ones (C) for the last batch norm of each selected path, by its place.

    <g, o_k> is the sum over the channels of the gradient of a scale on o_k, which the backward of
    a batch norm has at hand: the gradient of w_k comes without another look at o_k. weights: (K);
    the sum of the paths is multiplied by `scale` afterwards.
    """
    if not norms:
        return {}
    scales: tuple[Tensor, ...] = _Scales.apply(weights, norms, scale)  # type: ignore[no-untyped-call]
    return dict(zip(norms, scales, strict=True))


class _Scales(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, norms: Mapping[int, nn.BatchNorm2d], scale: float
    ) -> tuple[Tensor, ...]:
        ctx.places, ctx.scale, ctx.like = tuple(norms), scale, weights.detach()
        return tuple(torch.ones_like(cast("Tensor", norm.running_mean)) for norm in norms.values())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        products = torch.zeros_like(ctx.like)
        sums = torch.stack(gradients).sum(dim=1) / ctx.scale
        places = torch.tensor(ctx.places, device=sums.device)
        return products.index_copy_(0, places, sums.to(products.dtype)), None, None
