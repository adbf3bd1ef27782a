"""The build folder: which file came from which, and every file's digest."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.network import Network

MODEL = "model.onnx"
SOURCE = "model.py"
WEIGHTS = "weights.safetensors"
GENOTYPE = "genotype.json"
REFERENCE = "reference.npz"
MANIFEST = "manifest.json"
REPORT = "report.json"
PAGE = "report.html"
ENGINES = "engines"
SIDE_CAR = "engine.json"


class File(Document):
    """One file of a build."""

    sha256: str
    size_bytes: int
    made_from: tuple[str, ...] = Field(
        default=(), description="names of the files in this build that it came from"
    )
    made_by: str = Field(default="", description="the step that made it, in a few words")


class Manifest(Document):
    """`manifest.json` (`datac.manifest/1`). Names are POSIX paths below the build folder."""

    schema_: Literal["datac.manifest/1"] = Field(default="datac.manifest/1", alias="schema")
    genotype_hash: str
    network: Network
    weights: str
    datac_version: str
    files: dict[str, File]


class SideCar(Document):
    """`engine.json` beside an engine: what it is and where it may run (`datac.engine/1`)."""

    schema_: Literal["datac.engine/1"] = Field(default="datac.engine/1", alias="schema")
    target: str
    precision: str
    engine: str = Field(description="the file to load, in this folder")
    engine_sha256: str
    model_sha256: str = Field(description="the canonical model.onnx that it came from")
    genotype_hash: str
    network: Network = Field(description="preprocessing and class names travel in here")
    input_shape: tuple[int | str, ...]
    versions: dict[str, str]
    device: str
    options: dict[str, str | int | float | bool] = {}
