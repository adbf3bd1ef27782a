"""What the methods share that run one-hot draws: DATA has M of them, GDAS one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from searcher.gumbel import aggregate, draw, ensemble
from searcher.methods.method import Drawing, Method, Mixtures
from searcher.supernet import Mixture


@dataclass(frozen=True)
class Drawn(Method):
    """A path runs if any of the draws hit it, with the straight-through gradient.

    Each step draws anew, so the architecture step and the weight step of a mini-batch see
    different codes, as in the authors' code of both.
    """

    probe: ClassVar[bool] = True
    """Whether the weights of paths that a step does not run get their gradient, too."""

    @property
    @abstractmethod
    def draws(self) -> int:
        """M."""

    def for_architecture(self, drawing: Drawing) -> Mixtures:
        """A draw whose weights carry the gradient of DATA's definition 1."""
        mask = self.layout.mask
        mixtures = {}
        for kind, values in drawing.logits.items():
            codes = draw(self.p(values), self.draws, drawing.generator)
            code = ensemble(self.scores(values), mask, codes, drawing.temperature)
            weights = aggregate(code, self.layout, self.aggregation)
            on_device = weights.to(drawing.device, non_blocking=True)
            mixtures[kind] = Mixture(codes.selected, on_device, probe=self.probe)
        return mixtures

    def for_weights(self, drawing: Drawing) -> Mixtures:
        """A draw; no temperature decides what is drawn."""
        return {
            kind: Mixture(draw(self.p(values), self.draws, drawing.generator).selected)
            for kind, values in drawing.logits.items()
        }
