"""The search result: what a finished search run records beside its genotype."""

import math
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from datac.documents.document import Document
from datac.documents.gap import Gap
from datac.documents.genotype import CellKind, Genotype
from datac.documents.search_space import SearchSpace

Granularity = Literal["node", "edge"]
"""What one distribution covers while searching: all paths of a node, or those of one input."""

CountedQuantity = Literal["parameters", "multiply_adds"]
Quantity = Literal["parameters", "multiply_adds", "latency_ms"]
"""What a search can bound."""

Option = str | int | float | bool

# Printed probabilities are rounded; a sum further from 1 than this is not a distribution.
SUM_TOLERANCE = 1e-4

ROUNDING = 1e-12
"""Relative; sums of milliseconds in another order differ by less."""


class NodeDistribution(Document):
    """One node's probabilities as the derivation saw them: over the whole node, `none` merged.

    `none` + sum(`paths`) = 1; `paths` in the order of `SearchSpace.paths`. Which of them were
    chosen stands in the genotype's node.
    """

    none: float = Field(ge=0, le=1)
    paths: tuple[float, ...]
    chosen_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="P(the draws give exactly the chosen set, with or without `none`); None for "
        "a method that does not draw",
    )
    runner_up_probability: float | None = Field(
        default=None, ge=0, le=1, description="the same of the next most probable set"
    )

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if not all(0 <= probability <= 1 for probability in self.paths):
            raise ValueError("a probability is outside 0 to 1")
        if abs(self.none + math.fsum(self.paths) - 1) > SUM_TOLERANCE:
            raise ValueError("the probabilities do not sum to 1")
        return self


class BoundResult(Document):
    """One bound of a search, and what became of it; all in the unit of the quantity.

    Costs are of the child's network, counted as `datac show` does; a latency is the sum of what
    the latency table says.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    quantity: Quantity
    bound: float = Field(gt=0)
    child: float = Field(description="of the genotype")
    unbounded: float = Field(description="of the genotype that would be derived without bounds")
    expected: float = Field(description="of a draw, at the end of the search")
    multiplier: float = Field(ge=0, description="at the end; what it is in searcher/constraint.py")
    uncertainty: float = Field(
        default=0.0, ge=0, description="share in all costs that a latency table's mean error is"
    )

    @property
    def excess(self) -> float:
        """By how much the genotype misses the bound; 0 where it meets it."""
        over = self.child - self.bound
        return over if over > ROUNDING * self.bound else 0.0


class SearchResult(Document):
    """What was found, how, on what and in what time (`datac.search_result/1`)."""

    schema_: Literal["datac.search_result/1"] = Field(
        default="datac.search_result/1", alias="schema"
    )
    genotype: Genotype
    space: SearchSpace
    method: str
    granularity: Granularity = "node"
    draws: int | None = Field(default=None, ge=1, description="M, one-hot draws a code")
    distributions: dict[CellKind, tuple[NodeDistribution, ...]]
    epochs: int = Field(ge=0)
    steps: int = Field(
        ge=0,
        description="mini-batches of the weights, those of the warm-up among them, in which no "
        "logit learns",
    )
    seconds: float = Field(ge=0, description="wall clock, all resumed parts together")
    seed: int
    dataset: str
    dataset_digest: str
    device: str
    metrics: dict[str, float] = Field(default_factory=dict)
    bounds: tuple[BoundResult, ...] | None = Field(
        default=None, description="None where nothing was bounded"
    )
    gap: Gap | None = Field(
        default=None, description="None where no supernet was trained or nothing validates it"
    )
    options: dict[str, Option] = Field(
        default_factory=dict, description="the command's options, as given"
    )
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_its_space(self) -> Self:
        for kind in self.genotype.cells:
            nodes = self.distributions.get(kind, ())
            if len(nodes) != self.space.nodes:
                raise ValueError(
                    f"{kind} cell: {len(nodes)} distributions for {self.space.nodes} nodes"
                )
            for number, node in zip(self.space.numbers(), nodes, strict=True):
                expected = len(self.space.paths(number))
                if len(node.paths) != expected:
                    raise ValueError(
                        f"{kind} cell, node {number}: {len(node.paths)} probabilities for "
                        f"{expected} paths"
                    )
        return self
