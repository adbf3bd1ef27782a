"""The gap of a search: what its supernet is worth, and what the child that it derived is worth."""

import statistics
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from datac.documents.document import Document

Metric = Literal["accuracy", "miou"]
Share = Annotated[float, Field(ge=0, le=1)]


class Gap(Document):
    """The metric of four networks with the weights that the search ended with.

    All are measured on the same validation samples, and differ each from the one before in one
    thing, so that the gap has three parts that add up:

        gap        = mean(sampled) - child  = derivation + form + statistics
        derivation = mean(sampled) - derived
        form       = derived - recomputed
        statistics = recomputed - child

    All are signed: above 0 the child is worse. What is measured how, and why so: searcher/gap.py.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    metric: Metric
    samples: int = Field(ge=1)
    sampled: tuple[Share, ...] = Field(
        min_length=2, description="the supernet as a weight step runs it, one value a draw"
    )
    derived: Share = Field(description="the supernet restricted to the derived code")
    recomputed: Share = Field(description="the child, its batch statistics recomputed")
    child: Share = Field(description="the child as it inherits: nothing is recomputed")
    chance: Share = Field(description="of the commonest class as the answer to everything")
    margin: float = Field(ge=0, description="what the supernet must have above chance")

    @property
    def supernet(self) -> float:
        """The mean over the draws."""
        return statistics.fmean(self.sampled)

    @property
    def spread(self) -> float:
        """The standard deviation over the draws: of the supernet, and so of the gap."""
        return statistics.stdev(self.sampled)

    @property
    def at_chance(self) -> bool:
        """Whether the supernet is too near to chance for its gap to mean anything."""
        return self.supernet <= self.chance + self.margin

    @property
    def gap(self) -> float | None:
        """See the class; None at chance."""
        return None if self.at_chance else self.supernet - self.child

    @property
    def parts(self) -> dict[str, float]:
        """By name, in order; they add up to the difference of supernet and child."""
        return {
            "derivation": self.supernet - self.derived,
            "form": self.derived - self.recomputed,
            "statistics": self.recomputed - self.child,
        }
