"""What `datac dataset` found in a data set (`datac.dataset_summary/1`)."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.network import Classes, Task


class ImageSize(Document):
    """How many of the sampled images have this height and width, in pixels."""

    height: int
    width: int
    images: int


class SplitSummary(Document):
    """`shares` and `sizes` are over `sampled` samples, drawn with a fixed seed.

    Shares are of pixels for segmentation, of samples for classification, in the order of the
    classes; they add up to 1 with `ignored`.
    """

    samples: int
    sampled: int
    sizes: tuple[ImageSize, ...]
    shares: tuple[float, ...]
    ignored: float = 0.0


class DatasetSummary(Document):
    """The whole answer; `splits` in the data set's order."""

    schema_: Literal["datac.dataset_summary/1"] = Field(
        default="datac.dataset_summary/1", alias="schema"
    )
    name: str
    task: Task
    digest: str
    classes: Classes
    splits: dict[str, SplitSummary]
