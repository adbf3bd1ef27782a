"""SNAS (Xie, Zheng, Liu, Lin, ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from searcher.derive import Derived, derive_by
from searcher.derive_edges import best_of_every_edge
from searcher.gumbel import draw, relaxed
from searcher.methods.method import Drawing, Level, Logits
from searcher.methods.relaxed import Relaxed


@dataclass(frozen=True)
class Snas(Relaxed):
    """Every candidate of an edge, weighted by a concrete sample (Maddison et al., ICLR 2017).

        z = softmax((log α + g) / τ),  o(x) = Σ_k z_k · o_k(x)

    Logits and weights learn by one loss, as in the paper. Not here: the resource constraint, which
    the published cells were found with, and its search gradient by score function; path dropout
    while searching; the weight decay of the logits. The paper gives no temperatures: these are
    the authors' code's (SNAS-Series), a straight line over the search.
    """

    levels: ClassVar[tuple[Level, ...]] = ("single", "alternating")
    temperatures: ClassVar[tuple[float, float] | None] = (1.0, 0.03)

    def shares(self, logits: Tensor, drawing: Drawing) -> Tensor:
        """A sample of every edge."""
        noise = draw(self.p(logits), 1, drawing.generator).noise[0]
        return relaxed(logits, self.layout.mask, noise, drawing.temperature)

    def derive(self, logits: Logits) -> Derived:
        """Of every edge the most probable candidate; `none` drops it."""
        return derive_by(
            lambda node, table: best_of_every_edge(node, table, self.layout),
            self.tables(logits),
            self.layout,
            self.aggregation,
        )
