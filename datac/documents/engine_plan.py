"""`plan.json`: how an engine's own model is made, and what each choice was measured to be worth."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.environment import Environment
from datac.documents.network import Network
from datac.documents.precision import Precision


class Decision(Document):
    """One thing that was tried. Ratios: time with it over time without, below 1 is faster.

    low, high: the 95 % interval of the median over rounds that went over both engines in turn.
    """

    option: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    kept: bool
    reason: str | None = Field(default=None, description="why it was not measured, or refused")


class EnginePlan(Document):
    """The plan of one engine (`datac.plan/1`)."""

    schema_: Literal["datac.plan/1"] = Field(default="datac.plan/1", alias="schema")
    target: str
    precision: Precision
    rewrites: tuple[str, ...] = Field(description="in the order in which they run")
    opset: int | None = Field(
        default=None, ge=18, le=26, description="of its ONNX; absent: datac's own choice"
    )
    threads: int | None = Field(
        default=None, ge=1, description="absent where they were given or all"
    )
    decisions: tuple[Decision, ...] = ()
    genotype_hash: str = Field(description="of the network that it was measured on")
    network: Network | None = Field(default=None, description="what surrounded its cells")
    environment: Environment
