"""DARTS, first order (Liu, Simonyan, Yang, ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from searcher.derive import Derived, derive_by
from searcher.derive_edges import strongest_edges
from searcher.methods.method import Drawing, Logits
from searcher.methods.relaxed import Relaxed


@dataclass(frozen=True)
class Darts(Relaxed):
    """Every candidate of an edge, weighted by a softmax: o(x) = Σ_k softmax(α)_k · o_k(x).

    Nothing is drawn. The paper's second order is not here, and its weight decay of the logits
    (1e-3) is the recipe's 0, as for all methods.
    """

    def shares(self, logits: Tensor, drawing: Drawing) -> Tensor:
        """softmax(α) of every edge."""
        return self.p(logits)

    def derive(self, logits: Logits) -> Derived:
        """Of every node the two strongest edges, one operation each."""
        return derive_by(
            lambda node, table: strongest_edges(node, table, self.layout),
            self.tables(logits),
            self.layout,
            self.aggregation,
        )
