"""`selftest.json`: what a machine makes of the published cells, to be sent back."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.environment import Environment
from datac.documents.precision import Precision
from datac.documents.report import TargetResult


class Throughput(Document):
    """An engine of a fixed batch size. A sentence stands where it could not be had."""

    batch: int
    milliseconds: float | None = Field(default=None, description="median of one call")
    per_second: float | None = Field(default=None, description="samples")
    memory_bytes: int | None = Field(
        default=None,
        description="by which loading and running it grew what is in use: of the process, or of "
        "the GPU",
    )
    reason: str | None = None


class Tested(Document):
    """One engine of one cell: the gate on it, and its throughput."""

    cell: str
    network: str = Field(description="what surrounds the cells")
    result: TargetResult
    throughput: tuple[Throughput, ...] = ()


class SelfTest(Document):
    """All of it (`datac.selftest/1`)."""

    schema_: Literal["datac.selftest/1"] = Field(default="datac.selftest/1", alias="schema")
    environment: Environment
    gpu: str = Field(description="its name, or why there is none")
    cuda: str | None = Field(default=None, description="the newest that the driver runs")
    targets: tuple[str, ...] = Field(default=(), description="that were tried; none: all")
    precisions: tuple[Precision, ...] = Field(default=(), description="likewise")
    device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="that the targets torch and onnx ran on"
    )
    tested: tuple[Tested, ...] = ()
