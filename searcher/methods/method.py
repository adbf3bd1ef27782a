"""What a search asks of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datac.documents.genotype import CELL_KINDS, Aggregation, CellKind
from datac.documents.search_result import Granularity
from searcher.derive import Derived
from searcher.gumbel import Layout, probabilities
from searcher.supernet import Mixture

Logits = dict[CellKind, Tensor]
"""(G, n) for each kind of cell, on the host; see `Layout`."""

Mixtures = dict[CellKind, Mixture]
"""What the cells of each kind compute."""

Level = Literal["alternating", "single"]
"""How logits and weights learn: each on its half of the data, or both by one loss on all of it."""

INITIAL_DEVIATION = 1e-3
"""Of the first logits (the code of DATA, DARTS and GDAS): no candidate begins ahead."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a step draws from. temperature: τ. device: where what is drawn will run."""

    logits: Logits
    generator: torch.Generator
    temperature: float
    device: torch.device


@dataclass(frozen=True)
class Method(ABC):
    """Stateless: everything that changes is in the logits and the generator.

    The logits stay on the host, where codes are drawn; only their weights travel to the device.
    One code serves all normal cells and one all reduction cells. What a method adds to these two
    fields are its options.
    """

    layout: Layout
    aggregation: Aggregation = "sum"

    granularities: ClassVar[tuple[Granularity, ...]] = ("edge",)
    """What a distribution may cover; the first is the usual one."""
    levels: ClassVar[tuple[Level, ...]] = ("alternating", "single")
    """The first is the usual one; none where no logit learns."""
    bounded: ClassVar[bool] = False
    """Whether the mean cost of what it draws is known (`searcher/expected_cost.py`)."""
    temperatures: ClassVar[tuple[float, float] | None] = None
    """τ at the first and at the last architecture step; None for the recipe's."""

    @property
    def learns(self) -> bool:
        """Whether anything moves the logits."""
        return bool(self.levels)

    @property
    def draws(self) -> int | None:
        """M, one-hot draws a code; None where what runs is not drawn so."""
        return None

    def initial_logits(self, generator: torch.Generator) -> Logits:
        """Where the search starts: N(0, 0.001²) for each."""
        return {
            kind: torch.randn(self.layout.shape, generator=generator)
            .mul_(INITIAL_DEVIATION)
            .requires_grad_()
            for kind in CELL_KINDS
        }

    def scores(self, logits: Tensor) -> Tensor:
        """What the softmax of each group makes probabilities of. (G, n) → (G, n)."""
        return logits

    def p(self, logits: Tensor) -> Tensor:
        """The probabilities, (G, n) → (G, n), 0 in columns that do not exist."""
        return probabilities(self.scores(logits), self.layout.mask)

    def tables(self, logits: Logits) -> dict[CellKind, NDArray[np.float64]]:
        """The probabilities (G, n) in float64, for a derivation."""
        return {kind: self.p(values.detach().double()).numpy() for kind, values in logits.items()}

    @abstractmethod
    def for_architecture(self, drawing: Drawing) -> Mixtures:
        """What an architecture step runs, with the gradient of the logits."""

    @abstractmethod
    def for_weights(self, drawing: Drawing) -> Mixtures:
        """What a weight step runs; the logits have no gradient in it."""

    def regulariser(self, logits: Logits, mixtures: Mixtures) -> Tensor | None:
        """What the loss of the logits has beside the task's, on the host; None for nothing."""
        return None

    @abstractmethod
    def derive(self, logits: Logits) -> Derived:
        """The cells that the logits stand for."""
