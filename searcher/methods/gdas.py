"""GDAS (Dong, Yang, CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from searcher.derive import Derived, derive_by
from searcher.derive_edges import strongest_edges
from searcher.methods.drawn import Drawn
from searcher.methods.method import Logits


@dataclass(frozen=True)
class Gdas(Drawn):
    """One draw an edge: one operation runs, and it alone has a gradient.

    dL/dw_k of what was not drawn is taken as 0. (The released code adds the other weights, which
    are 0, to the output as numbers, and so gives them the sum of dL/do; the paper does not.)
    """

    probe: ClassVar[bool] = False
    temperatures: ClassVar[tuple[float, float] | None] = (10.0, 0.1)

    @property
    def draws(self) -> int:
        """One."""
        return 1

    def derive(self, logits: Logits) -> Derived:
        """Of every node the two edges with the most probable operations, one operation each.

        The released code takes the two most probable operations and may so take both on one
        input, which its author marks as an open problem; the paper's cells have two inputs.
        """
        return derive_by(
            lambda node, table: strongest_edges(node, table, self.layout),
            self.tables(logits),
            self.layout,
            self.aggregation,
        )
