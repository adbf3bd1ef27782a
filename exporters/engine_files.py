"""Whether an engine's files are those that the build makes: a digest only says "unchanged".

An engine that answers well may still hold other weights than the build's, where someone wrote the
manifest and the side-car anew. Of what is a copy, or the canonical model at another size, the right
content is known; of a TensorRT plan it is not.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from datac.documents.build_folder import ENGINES, GENOTYPE, MODEL, SOURCE, WEIGHTS
from datac.errors import BadInput
from exporters.engines import Built
from exporters.onnx_file import read_onnx
from exporters.structure import compare
from exporters.targets.specialise import model_bytes, specialise_model
from exporters.targets.target import BuildOptions

ONNX_FILES = ("onnx", "openvino")
"""The targets whose engine is its own model as a file, fixed to a size or open."""

PLANS = ("trt", "trt-rtx")
"""The targets whose engine is made from its own model, and cannot be read."""


def engine_difference(
    built: Built, build: Path, expected: onnx.ModelProto, source: str
) -> str | None:
    """One sentence on the first file that is not what this build makes, or None.

    expected, source: the engine's own model and `model.py`, made anew from genotype and weights.
    """
    assert built.engine is not None
    assert built.options is not None
    file = built.folder / built.engine.file
    if built.result.target in ONNX_FILES:
        return _model_difference(file, built.options, expected)
    if built.result.target == "torch":
        copies = {
            built.folder / SOURCE: source.encode(),
            built.folder / GENOTYPE: (build / GENOTYPE).read_bytes(),
            file: (build / WEIGHTS).read_bytes(),
        }
        for path, content in copies.items():
            if not path.is_file() or path.read_bytes() != content:
                return f"{_name(path)} is not that of the build, and is not run; compile it again"
    return None


def _model_difference(file: Path, options: BuildOptions, expected: onnx.ModelProto) -> str | None:
    model = onnx.ModelProto()
    model.CopyFrom(expected)
    wanted = specialise_model(model, options, MODEL)
    if file.read_bytes() == model_bytes(wanted):
        return None
    try:
        held = read_onnx(file)
    except BadInput as error:
        return str(error)
    differences = compare(held, wanted)
    for either in (held, wanted):
        # Inferred sizes of inner values: another version of onnx may know more of them.
        del either.graph.value_info[:]
    if not differences and model_bytes(held) == model_bytes(wanted):
        return None
    first = differences[0] if differences else "its bytes differ"
    return f"{_name(file)} is not what {MODEL} makes by its side-car's plan at this size: {first}"


def _name(path: Path) -> str:
    return f"{ENGINES}/{path.parent.name}/{path.name}"
