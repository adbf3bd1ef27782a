"""What the methods share that run every candidate at once, each scaled: DARTS and SNAS."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

from torch import Tensor

from searcher.gumbel import aggregate
from searcher.methods.method import Drawing, Method, Mixtures
from searcher.supernet import Mixture


@dataclass(frozen=True)
class Relaxed(Method):
    """Every path of an edge runs, scaled by its share; the shares of an edge sum to 1.

    `none` takes a share and adds nothing. Its logit learns because more of it is less of the
    others. With the aggregation `mean` the shares of a node are divided by their sum without
    `none`, if that is above 1: the formula of a binary code.
    """

    @abstractmethod
    def shares(self, logits: Tensor, drawing: Drawing) -> Tensor:
        """Of one kind of cell, (G, n) → (G, n), rows sum to 1."""

    def for_architecture(self, drawing: Drawing) -> Mixtures:
        """All paths; the shares carry the gradient."""
        mixtures = {}
        for kind, values in drawing.logits.items():
            shares = self.shares(values, drawing)
            weights = aggregate(shares, self.layout, self.aggregation)
            on_device = weights.to(drawing.device, non_blocking=True)
            mixtures[kind] = Mixture(self.layout.path_mask, on_device, soft=True)
        return mixtures

    def for_weights(self, drawing: Drawing) -> Mixtures:
        """The same without that gradient."""
        fixed = {kind: values.detach() for kind, values in drawing.logits.items()}
        return self.for_architecture(replace(drawing, logits=fixed))
