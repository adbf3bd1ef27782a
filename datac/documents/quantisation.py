"""How an int8 engine was quantised: enough to make its model again, and to compare it."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document

Method = Literal["min-max", "percentile", "entropy"]


class CalibratedRange(Document):
    """What the values of one group are to hold: a value, or all addends of one sum."""

    group: str
    low: float
    high: float


class Quantisation(Document):
    """Of one engine. Everything but its convolutions stays float32, and so do those in `kept`."""

    activations: Literal["uint8", "int8"]
    bias: Literal["int32", "float32"]
    averages: bool = Field(
        default=False, description="whether a mean of rounded values is rounded to their steps"
    )
    method: Method = Field(description="of calibration")
    samples: int = Field(description="inputs that the ranges were seen on")
    kept: tuple[str, ...] = Field(default=(), description="convolutions that stay float32")
    ranges: tuple[CalibratedRange, ...]
