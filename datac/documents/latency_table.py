"""The latency table: what each candidate costs on one target of one machine.

Times of single candidates do not add up to that of a network: runtimes fuse across them, and a
network has more than its paths. What is missing is the remainder, one for each network. So

    latency of a child ≈ remainder of its network + Σ over its paths of their entries
"""

import hashlib
import shlex
from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from datac.documents.document import Document
from datac.documents.genotype import OperationName
from datac.documents.network import Network
from datac.documents.search_space import SearchSpace

Key = tuple[str, str, tuple[int, ...], int, int, bool, str]
"""target, operation, input shape (N, C, H, W), stride, dilation, unstrided, dtype."""

Setup = tuple[str, str]
"""target, dtype."""


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
    dilation: int = Field(default=1, ge=1, description="what an output stride adds")
    unstrided: bool = Field(
        default=False,
        description="at a reduction whose stride an output stride took away, where the skip is a "
        "factorized reduce of stride 1",
    )
    dtype: str
    n: int = Field(ge=1, description="measurements behind the median")
    median_ms: float = Field(ge=0)
    interval_ms: tuple[float, float] = Field(description="95 % interval of the median")

    @property
    def key(self) -> Key:
        """What a look-up asks for."""
        return (
            self.target,
            self.operation,
            self.shape,
            self.stride,
            self.dilation,
            self.unstrided,
            self.dtype,
        )

    @model_validator(mode="after")
    def _is_a_measurement(self) -> Self:
        low, high = self.interval_ms
        if not low <= self.median_ms <= high:
            raise ValueError(f"the median {self.median_ms} is outside its interval {low} to {high}")
        if min(self.shape, default=0) < 1:
            raise ValueError(f"the shape {self.shape} has a size below 1")
        return self


class LatencyRemainder(Document):
    """What a network takes beside its paths, for one sample: stem, joins, head, and overheads.

    It is below 0 where fusion saves more than all of these take.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    target: str
    dtype: str
    network: Network
    n: int = Field(ge=1, description="measured networks that it was fitted to")
    remainder_ms: float
    held_out: int = Field(default=0, ge=0, description="other networks that were measured")
    mean_error: float | None = Field(
        default=None, ge=0, description="of their latency, as predicted: mean |error| / measured"
    )

    def is_of(self, network: Network) -> bool:
        """Whether the network is the same; names of classes and preprocessing take no time."""
        return self.network.bare == network.bare


class LatencyTable(Document):
    """Latencies of one machine, until they expire (`datac.latency_table/1`)."""

    schema_: Literal["datac.latency_table/1"] = Field(
        default="datac.latency_table/1", alias="schema"
    )
    machine: Machine
    runtimes: dict[str, Runtime] = Field(description="target → what ran it")
    rewrites: dict[str, tuple[str, ...]] = Field(
        default={}, description="target → how its engines were rewritten: its default then"
    )
    measured: AwareDatetime
    expires: AwareDatetime
    entries: tuple[LatencyEntry, ...]
    remainders: tuple[LatencyRemainder, ...] = ()
    command: str = Field(default="", description="what measures it again")

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON; formatting does not count."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def by_key(self) -> dict[Key, LatencyEntry]:
        """The entries, to look up in."""
        return {entry.key: entry for entry in self.entries}

    def remainders_of(self, network: Network) -> dict[Setup, float]:
        """Milliseconds of a network beside its paths, for every target and dtype that has them."""
        return {
            (entry.target, entry.dtype): entry.remainder_ms
            for entry in self.remainders
            if entry.is_of(network)
        }

    def mean_error_of(self, network: Network, setup: Setup) -> float:
        """How far its sums are off on average, as a share; 0 where that was not measured."""
        errors = [
            entry.mean_error or 0.0
            for entry in self.remainders
            if (entry.target, entry.dtype) == setup and entry.is_of(network)
        ]
        return max(errors, default=0.0)

    def is_expired(self, now: datetime) -> bool:
        """Whether it must be measured again. `now` has a time zone."""
        return now >= self.expires

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.expires <= self.measured:
            raise ValueError("it expires before it was measured")
        if len(self.by_key()) != len(self.entries):
            raise ValueError("an operation stands twice at one place, target and dtype")
        targets = {entry.target for entry in self.entries}
        targets |= {entry.target for entry in self.remainders}
        unknown = sorted(targets - set(self.runtimes))
        if unknown:
            raise ValueError(f"the runtime of the target {unknown[0]} is missing")
        networks = [
            (entry.target, entry.dtype, entry.network.bare.to_json()) for entry in self.remainders
        ]
        if len(set(networks)) != len(networks):
            raise ValueError("a network has two remainders at one target and dtype")
        return self

    def renewal(self, network: Network, space: SearchSpace | None = None) -> str:
        """What measures a table like this one for a network, and for paths of that space."""
        words = ["datac", "table", "--target", next(iter(self.runtimes)), *network.options]
        if space is not None:
            words += ["--nodes", str(space.nodes), "--candidates", ",".join(space.candidates)]
        if self.machine.threads is not None:
            words += ["--threads", str(self.machine.threads)]
        return shlex.join(words)

    def other_networks(self, network: Network) -> str:
        """How the nearest of its networks differs from this, in words."""
        found = [entry.network.differences(network) for entry in self.remainders]
        return min(found, key=lambda words: words.count(";")) if found else "it has none at all"
