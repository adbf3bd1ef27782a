"""Where numbers come from."""

from datac.documents.document import Document


class Environment(Document):
    """The machine and the packages of a measurement."""

    python: str
    platform: str
    processor: str
    cores: int
    packages: dict[str, str]
    date: str
