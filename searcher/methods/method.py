"""What a search asks of a method."""

from typing import Protocol

import torch
from torch import Tensor

from datac.documents.genotype import CellKind
from searcher.derive import Derived
from searcher.gumbel import Layout
from searcher.supernet import Mixture

Logits = dict[CellKind, Tensor]
"""(G, n) for each kind of cell, on the host; see `Layout`."""

Mixtures = dict[CellKind, Mixture]
"""What the cells of each kind compute."""


class Method(Protocol):
    """Stateless: everything that changes is in the logits and the generator.

    The logits stay on the host, where codes are drawn; only their weights travel to the device.
    """

    @property
    def layout(self) -> Layout:
        """What each logit stands for."""

    def initial_logits(self, generator: torch.Generator) -> Logits:
        """Where the search starts."""

    def for_architecture(
        self,
        logits: Logits,
        generator: torch.Generator,
        temperature: float,
        device: torch.device,
    ) -> Mixtures:
        """What an architecture step runs, with the gradient of the logits."""

    def for_weights(self, logits: Logits, generator: torch.Generator) -> Mixtures:
        """What a weight step runs; nothing in it has a gradient."""

    def derive(self, logits: Logits) -> Derived:
        """The cells that the logits stand for."""
