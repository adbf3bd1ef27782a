"""The derivation: the genotype that a search came to, how sure that is, and what else was close."""

from typing import Literal, Self

from pydantic import Field, model_validator

from datac.documents.document import Document
from datac.documents.genotype import CellKind, Path
from datac.documents.search_result import Granularity

Verdict = Literal["decided", "not decided"]


class Move(Document):
    """A change of one logit; of a merged `none` the input is None."""

    operation: str
    input: int | None = None
    by: float = Field(description="positive upwards")


class NodeDerivation(Document):
    """One node: what was chosen, and how clearly.

    Probabilities are those of a child's set of paths under the draws, with or without `none`.
    """

    node: int
    paths: tuple[Path, ...]
    probability: float = Field(ge=0, le=1)
    uniform_probability: float = Field(
        ge=0, le=1, description="what it would be if all logits were equal"
    )
    runner_up: tuple[Path, ...] = Field(description="the most probable other paths")
    runner_up_probability: float = Field(ge=0, le=1)
    margin: float = Field(
        description="probability - runner_up_probability; below 0 where the rule, which compares "
        "codes, did not choose the most probable child"
    )
    smallest_move: Move | None = Field(
        default=None,
        description="the shortest move of one logit that changes the choice; None if there is "
        "none of 10 or less",
    )
    last_step: float = Field(
        ge=0, description="a mean step of the last epoch, of the logit that went farthest in it"
    )
    travel_ratio: float = Field(
        ge=0, description="squared way of the logits from equality over that of chance alone"
    )
    entropy: float = Field(ge=0, description="as a share of that of a uniform distribution")
    chosen_since: int = Field(
        ge=1, description="the epoch from whose end on these paths were the choice"
    )


class CellDerivation(Document):
    """One cell. weightless_share: the share of its paths that have no weights, at stride 1."""

    probability: float = Field(ge=0, le=1, description="the product over the nodes")
    weightless_share: float = Field(ge=0, le=1)
    nodes: tuple[NodeDerivation, ...]


class EpochEntropy(Document):
    """The entropies at the end of an epoch, as shares of the uniform one, by cell and node."""

    epoch: int = Field(ge=1)
    steps: int = Field(ge=1)
    nodes: dict[CellKind, tuple[float, ...]]


class NodeName(Document):
    """A node of a kind of cell."""

    cell: CellKind
    node: int


class TopGenotype(Document):
    """One of the genotypes that were written."""

    file: str
    hash: str
    probability: float = Field(ge=0, le=1, description="of all nodes of both cells")
    differs_in: tuple[NodeName, ...] = Field(
        default=(), description="the nodes where it is not the choice of the rule"
    )


class Derivation(Document):
    """How sure a search is of its genotype (`datac.derivation/1`)."""

    schema_: Literal["datac.derivation/1"] = Field(default="datac.derivation/1", alias="schema")
    verdict: Verdict
    reasons: tuple[str, ...] = Field(
        default=(), description="why it is not decided, one sentence each"
    )
    genotype_hash: str
    method: str
    draws: int = Field(ge=1, description="M, one-hot draws a code")
    granularity: Granularity
    probability: float = Field(ge=0, le=1, description="of the genotype, the product over cells")
    cells: dict[CellKind, CellDerivation]
    top: tuple[TopGenotype, ...] = Field(
        description="the choice of the rule, then the most probable others, in order"
    )
    entropy: tuple[EpochEntropy, ...]
    versions: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if (self.verdict == "decided") == bool(self.reasons):
            raise ValueError("reasons belong to a verdict of not decided, and to no other")
        if not self.top or self.top[0].hash != self.genotype_hash:
            raise ValueError("the first of the top genotypes is not the one that was derived")
        return self
