"""DATA: ensemble Gumbel-Softmax (Chang et al., NeurIPS 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from datac.documents.search_result import Granularity
from datac.errors import BadInput
from searcher.clamped import START, log_clamped
from searcher.derive import Derived, derive
from searcher.methods.drawn import Drawn
from searcher.methods.method import Logits, Mixtures

MOST_DRAWS = 64


@dataclass(frozen=True)
class Data(Drawn):
    """M draws from each distribution; a path runs if any of them hit it.

    probabilities: what the logits are, see `clamped.py`. adc: the weight of the architecture
    distribution constraint, 0.1 in the authors' code, which the paper does not have.
    """

    draws: int = 4
    probabilities: Literal["softmax", "clamp"] = "softmax"
    adc: float = 0.0

    granularities: ClassVar[tuple[Granularity, ...]] = ("node", "edge")
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        check_draws(self.draws)
        if not (math.isfinite(self.adc) and self.adc >= 0):
            raise BadInput(f"--adc {self.adc:g}: the weight of the constraint must be 0 or more")

    def initial_logits(self, generator: torch.Generator) -> Logits:
        """N(0, 0.001²) for each, or around 1 for those that are clamped."""
        logits = super().initial_logits(generator)
        if self.probabilities == "clamp":
            for values in logits.values():
                values.detach().add_(START)
        return logits

    def scores(self, logits: Tensor) -> Tensor:
        """The logits, or the logarithms of the clamped ones."""
        return log_clamped(logits) if self.probabilities == "clamp" else logits

    def regulariser(self, logits: Logits, mixtures: Mixtures) -> Tensor | None:
        """The constraint: adc · Σ over the kinds of mean |p - w|, w = b / Σ b in each group.

        b is the code of this very draw, without its gradient; `none` counts in Σ b, which is
        therefore never 0. It draws the distributions towards the codes that come of them (the
        authors' `arch_reg`).
        """
        if self.adc == 0:
            return None
        distances = []
        for kind, values in logits.items():
            code = mixtures[kind].selected.to(values.dtype)
            drawn = code / code.sum(dim=-1, keepdim=True)
            distances.append((self.p(values) - drawn).abs()[self.layout.mask].mean())
        return self.adc * torch.stack(distances).sum()

    def derive(self, logits: Logits) -> Derived:
        """The most probable code of every node, in float64."""
        return derive(self.tables(logits), self.layout, self.draws, self.aggregation)


def check_draws(draws: int) -> None:
    """BadInput where there cannot be so many."""
    if not 1 <= draws <= MOST_DRAWS:
        raise BadInput(f"-M {draws}: the number of draws must be 1 to {MOST_DRAWS}")
