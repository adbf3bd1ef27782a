"""The latency table: what each candidate costs on one target of one machine."""

from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from datac.documents.document import Document
from datac.documents.genotype import OperationName

Key = tuple[str, str, tuple[int, ...], int, str]
"""target, operation, input shape (N, C, H, W), stride, dtype."""


class Machine(Document):
    """What the times were taken on; a table of another machine says nothing about this one."""

    device: str = Field(description="processor or accelerator, by its full name")
    cores: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    platform: str
    driver: str | None = None
    clock: str | None = Field(default=None, description="clock state, where it can be read")


class Runtime(Document):
    """The library that ran a target's engines."""

    name: str
    version: str


class LatencyEntry(Document):
    """One candidate at one shape, inside a small context: milliseconds a call."""

    target: str
    operation: OperationName
    shape: tuple[int, ...] = Field(description="of the input, (N, C, H, W)")
    stride: int = Field(ge=1)
    dtype: str
    n: int = Field(ge=1, description="measurements behind the median")
    median_ms: float = Field(ge=0)
    interval_ms: tuple[float, float] = Field(description="95 % interval of the median")

    @property
    def key(self) -> Key:
        """What a look-up asks for."""
        return (self.target, self.operation, self.shape, self.stride, self.dtype)

    @model_validator(mode="after")
    def _is_a_measurement(self) -> Self:
        low, high = self.interval_ms
        if not low <= self.median_ms <= high:
            raise ValueError(f"the median {self.median_ms} is outside its interval {low} to {high}")
        if min(self.shape, default=0) < 1:
            raise ValueError(f"the shape {self.shape} has a size below 1")
        return self


class LatencyTable(Document):
    """Latencies of one machine, until they expire (`datac.latency_table/1`)."""

    schema_: Literal["datac.latency_table/1"] = Field(
        default="datac.latency_table/1", alias="schema"
    )
    machine: Machine
    runtimes: dict[str, Runtime] = Field(description="target → what ran it")
    measured: AwareDatetime
    expires: AwareDatetime
    entries: tuple[LatencyEntry, ...]

    def by_key(self) -> dict[Key, LatencyEntry]:
        """The entries, to look up in."""
        return {entry.key: entry for entry in self.entries}

    def is_expired(self, now: datetime) -> bool:
        """Whether it must be measured again. `now` has a time zone."""
        return now >= self.expires

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.expires <= self.measured:
            raise ValueError("it expires before it was measured")
        if len(self.by_key()) != len(self.entries):
            raise ValueError("an operation stands twice at one target, shape, stride and dtype")
        unknown = sorted({entry.target for entry in self.entries} - set(self.runtimes))
        if unknown:
            raise ValueError(f"the runtime of the target {unknown[0]} is missing")
        return self
