"""`bisection.json`: which parts of a network int8 must leave alone, and what was tried."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.quantisation import Method


class Part(Document):
    """A path of a kind of cell (`normal/node2/path0`), or another part that may be kept."""

    name: str
    error: float = Field(
        description="relative RMS error of the logits where it alone is in int8, in simulation"
    )
    share: float = Field(description="of the network's multiply-adds")


class Trial(Document):
    """One engine that was built and measured. key: digest of its model, data and runtime."""

    key: str
    kept: tuple[str, ...] = Field(description="the parts that stay float32")
    metric: float
    drop: float = Field(description="the control's metric less this one's")
    reason: str | None = Field(default=None, description="why there is no such engine")


class Bisection(Document):
    """The whole search (`datac.bisection/1`)."""

    schema_: Literal["datac.bisection/1"] = Field(default="datac.bisection/1", alias="schema")
    target: str
    genotype_hash: str
    control: float = Field(description="metric of the float32 engine")
    max_drop: float
    method: Method
    parts: tuple[Part, ...] = Field(description="in the order in which they would be kept")
    trials: tuple[Trial, ...]
    kept: tuple[str, ...] | None = Field(
        default=None, description="the first parts whose trial was within max_drop"
    )
