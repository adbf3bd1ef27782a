"""`datac profile`: what every kernel of an engine cost, and which parts of the network it is."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.environment import Environment
from datac.documents.genotype import CellKind
from datac.documents.precision import Precision
from datac.documents.report import Latency


class KernelTime(Document):
    """One kernel. Milliseconds of a call: the median, and the quartiles around it."""

    name: str
    kind: str
    origins: tuple[str, ...] = Field(
        description="the parts of the network in it, as `cell3/node2/path0/sep_conv_3x3`; "
        "none for what the runtime added by itself"
    )
    median_ms: float
    low_ms: float
    high_ms: float


class LayerProfile(Document):
    """One engine, profiled by its own runtime (`datac.layer_profile/1`)."""

    schema_: Literal["datac.layer_profile/1"] = Field(
        default="datac.layer_profile/1", alias="schema"
    )
    target: str
    precision: Precision
    engine_sha256: str
    genotype_hash: str
    cell_kinds: tuple[CellKind, ...] = Field(description="of every cell, by its number")
    calls: int
    threads: int | None
    latency_ms: Latency = Field(description="of whole calls, without the profile")
    kernels: tuple[KernelTime, ...]
    environment: Environment
    command: str = ""
