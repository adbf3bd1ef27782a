"""What `datac doctor` found on a machine."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document


class Package(Document):
    """An installed distribution, or one that is not: then `version` is None."""

    name: str
    version: str | None = None
    extra: str | None = Field(default=None, description="datac[extra] installs it")


class Readiness(Document):
    """One target on this machine. A sentence stands where something is missing."""

    target: str
    can_build: bool
    can_run: bool
    to_build: str | None = None
    to_run: str | None = None


class Diagnosis(Document):
    """What `datac doctor` found (`datac.diagnosis/1`)."""

    schema_: Literal["datac.diagnosis/1"] = Field(default="datac.diagnosis/1", alias="schema")
    datac: str = Field(description="its version")
    python: str
    platform: str
    cores: int
    gpu: str = Field(description="what the NVIDIA driver says")
    installation: str = Field(description="the folder that datac's own packages come from")
    packages: tuple[Package, ...]
    targets: tuple[Readiness, ...]
    problems: tuple[str, ...] = Field(
        default=(), description="what is broken, not merely absent; one sentence each"
    )
