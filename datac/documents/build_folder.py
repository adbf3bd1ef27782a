"""The build folder: which file came from which, and every file's digest."""

import json
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from datac.documents.document import Document
from datac.documents.network import Network
from datac.documents.precision import Precision
from datac.documents.profile import Profile
from datac.documents.quantisation import Quantisation

MODEL = "model.onnx"
SOURCE = "model.py"
RUNTIME = "runtime.py"
WEIGHTS = "weights.safetensors"
GENOTYPE = "genotype.json"
REFERENCE = "reference.npz"
MANIFEST = "manifest.json"
REPORT = "report.json"
PAGE = "report.html"
ENGINES = "engines"
SIDE_CAR = "engine.json"
PLAN = "plan.json"


def _below_the_folder(name: str) -> str:
    """Refuses a name that leaves the folder: a manifest may come from anywhere."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or set(name) & set("\\:\0"):
        raise ValueError(f"{json.dumps(name)} is not the name of a file below this folder")
    return name


FileName = Annotated[str, AfterValidator(_below_the_folder)]
"""A POSIX path below the folder of the document that holds it."""


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
    files: dict[FileName, File]


class SideCar(Document):
    """`engine.json` beside an engine: what it is and where it may run (`datac.engine/1`)."""

    schema_: Literal["datac.engine/1"] = Field(default="datac.engine/1", alias="schema")
    target: str
    precision: Precision
    engine: FileName = Field(description="the file to load, in this folder")
    engine_sha256: str
    model_sha256: str = Field(description="the canonical model.onnx that it came from")
    weights_sha256: str = Field(default="", description="the weights.safetensors beside it")
    genotype_hash: str
    network: Network = Field(description="preprocessing and class names travel in here")
    input_shape: tuple[int | str, ...]
    profile: Profile | None = Field(
        default=None, description="the sizes that an engine of open sizes is made for"
    )
    versions: dict[str, str]
    device: str
    driver: str | None = Field(default=None, description="of the GPU that it was built with")
    rebuild: str = Field(default="", description="the command that makes it again")
    float32_nodes: tuple[str, ...] = Field(
        default=(), description="of an engine in f16: what stays float32, since it leaves the range"
    )
    quantisation: Quantisation | None = Field(default=None, description="of an engine in int8")
    embedded: tuple[Literal["preprocess", "argmax"], ...] = Field(
        default=(), description="what is in the engine besides the network"
    )
    rewrites: tuple[str, ...] = Field(
        default=(), description="of its own model, in the order in which they ran"
    )
    opset: int | None = Field(default=None, description="of its own model, where it was chosen")
    threads: int | None = Field(
        default=None, ge=1, description="that it is fastest with, where tuning has found some"
    )
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
