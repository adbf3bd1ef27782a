"""`datac ablate`: what each path of the cells is worth, by leaving it out."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.environment import Environment
from datac.documents.precision import Precision
from datac.documents.report import Latency


class AblatedPath(Document):
    """The network without one path, in every cell of its kind; its other weights are as they were.

    saved: of the whole network's latency, in 0..1, with the 95 % interval of the median over rounds
    that went over all engines in turn.
    """

    place: str = Field(description="as datac prune --drop takes it: normal/node2/path0")
    operation: str
    input: int
    latency_ms: Latency
    saved: float
    saved_low: float
    saved_high: float
    output_change: float = Field(
        description="RMS difference of the logits over their RMS, on the reference's inputs"
    )
    metric: float | None = None
    drop: float | None = Field(default=None, description="the whole network's metric less this")
    parameters_saved: int
    multiply_adds_saved: int
    pareto: bool = Field(
        description="no other path saves as much for as small a drop (or change, without data)"
    )

    @property
    def price(self) -> float:
        """What leaving it out costs: metric where it was measured, else the outputs' change."""
        return self.output_change if self.drop is None else self.drop


class Ablation(Document):
    """All paths of a build, one engine (`datac.ablation/1`)."""

    schema_: Literal["datac.ablation/1"] = Field(default="datac.ablation/1", alias="schema")
    target: str
    precision: Precision
    genotype_hash: str
    latency_ms: Latency = Field(description="of the whole network, in the same rounds")
    metric_name: Literal["miou", "accuracy"] | None = None
    metric: float | None = None
    paths: tuple[AblatedPath, ...] = Field(description="the most latency saved first")
    environment: Environment
    command: str = ""
