"""The train result: what a finished training records beside the child's weights."""

from typing import Literal, Self

from pydantic import Field, model_validator

from datac.documents.document import Document

Option = str | int | float | bool
Start = Literal["scratch", "supernet", "backbone", "child"]


class Score(Document):
    """The validation split after an epoch, counted from 1."""

    epoch: int = Field(ge=0)
    loss: float
    accuracy: float = Field(description="share of samples, or of pixels, that are right")
    miou: float | None = None
    per_class_iou: dict[str, float] = Field(
        default={}, description="by class name; a class that occurs nowhere is left out"
    )

    @property
    def metric(self) -> float:
        """What decides which weights are best."""
        return self.accuracy if self.miou is None else self.miou

    @property
    def rank(self) -> tuple[float, float]:
        """The larger, the better: the metric, then the loss."""
        return self.metric, -self.loss


class TrainResult(Document):
    """What was trained, from what, on what and in what time (`datac.train_result/1`)."""

    schema_: Literal["datac.train_result/1"] = Field(default="datac.train_result/1", alias="schema")
    genotype_hash: str
    metric: Literal["miou", "accuracy"]
    best: Score = Field(description="of weights.safetensors")
    last: Score = Field(description="of last.safetensors")
    start: Start
    start_from: str | None = Field(
        default=None, description="the RUN or CHILD whose weights it began with"
    )
    fresh: tuple[str, ...] = Field(
        default=(), description="tensors that began as they do from scratch, beside a start's"
    )
    dropped: tuple[str, ...] = Field(
        default=(), description="tensors of the start that have no counterpart here"
    )
    recipe: str
    options: dict[str, Option] = Field(
        default={}, description="what the recipe and the command line came to"
    )
    epochs: int = Field(ge=1)
    steps: int = Field(ge=1, description="of the optimiser")
    seconds: float = Field(ge=0, description="wall clock, all resumed parts together")
    seed: int
    dataset: str
    dataset_digest: str
    device: str
    versions: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _best_is_best(self) -> Self:
        if self.best.epoch > self.last.epoch:
            raise ValueError(f"the best epoch {self.best.epoch} is after the last one")
        if (self.start == "scratch") != (self.start_from is None):
            raise ValueError("start_from belongs to a start that is not from scratch")
        return self
