"""What an interrupted `datac table` had measured: a file beside the table that it was to write."""

from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from datac.documents.document import Document
from datac.documents.latency_table import LatencyEntry


class UnfinishedTable(Document):
    """Times as measured, not yet fitted (`datac.unfinished_table/1`)."""

    model_config = ConfigDict(allow_inf_nan=False)
    schema_: Literal["datac.unfinished_table/1"] = Field(
        default="datac.unfinished_table/1", alias="schema"
    )
    course: str = Field(description="digest of what is measured, how and on what")
    begun: AwareDatetime = Field(description="when the first of it was measured")
    threads: int | None = Field(default=None, ge=1)
    device: str = "cpu"
    entries: tuple[LatencyEntry, ...] = ()
    networks: dict[int, float] = Field(default={}, description="number of a genotype → ms")
