"""DATA: ensemble Gumbel-Softmax (Chang et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from datac.documents.genotype import Aggregation, CellKind
from searcher.derive import Derived, derive
from searcher.gumbel import Layout, aggregate, draw, ensemble, probabilities
from searcher.methods.method import Logits, Mixtures
from searcher.supernet import Mixture

KINDS: tuple[CellKind, ...] = ("normal", "reduction")

INITIAL_DEVIATION = 1e-3
"""Of the first logits (the authors' code): every candidate starts as likely as the others."""


@dataclass(frozen=True)
class Data:
    """M draws from each distribution; a path runs if any of them hit it.

    One code serves all normal cells and one all reduction cells. Each step draws anew, so the
    architecture step and the weight step of a mini-batch see different codes, as in the authors'
    code.
    """

    layout: Layout
    draws: int = 4
    aggregation: Aggregation = "sum"

    def initial_logits(self, generator: torch.Generator) -> Logits:
        """N(0, 0.001²) for each."""
        return {
            kind: torch.randn(self.layout.shape, generator=generator)
            .mul_(INITIAL_DEVIATION)
            .requires_grad_()
            for kind in KINDS
        }

    def for_architecture(
        self,
        logits: Logits,
        generator: torch.Generator,
        temperature: float,
        device: torch.device,
    ) -> Mixtures:
        """A draw whose weights carry the straight-through gradient of definition 1."""
        mask = self.layout.mask
        mixtures = {}
        for kind, values in logits.items():
            codes = draw(probabilities(values, mask), self.draws, generator)
            code = ensemble(values, mask, codes, temperature)
            weights = aggregate(code, self.layout, self.aggregation)
            mixtures[kind] = Mixture(codes.selected, weights.to(device, non_blocking=True))
        return mixtures

    def for_weights(self, logits: Logits, generator: torch.Generator) -> Mixtures:
        """A draw."""
        mask = self.layout.mask
        return {
            kind: Mixture(draw(probabilities(values, mask), self.draws, generator).selected)
            for kind, values in logits.items()
        }

    def derive(self, logits: Logits) -> Derived:
        """The most probable code of every node, in float64."""
        mask = self.layout.mask
        tables = {
            kind: probabilities(values.detach().double(), mask).numpy()
            for kind, values in logits.items()
        }
        return derive(tables, self.layout, self.draws, self.aggregation)
