"""Inputs and outputs in the JSON of NVIDIA's Polygraphy, both ways.

`polygraphy run model.onnx --onnxrt --load-inputs F --save-outputs G` reads what `save_inputs`
writes, and `load_outputs` reads what it leaves. An array is the base64 of an .npy file.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datac.documents.read import read_bytes
from datac.errors import BadInput
from datac.output_folder import write_beside
from exporters.npy import UNREADABLE, read_npy

Array = NDArray[np.generic]
Feed = Mapping[str, Array]
"""Name of an input or output → its values, for one run."""

KIND = "polygraphy_class"
LARGEST_BYTES = 2**30


def save_inputs(path: Path, feeds: Iterable[Feed]) -> None:
    """A list of inputs, one for each run (`polygraphy run --load-inputs`)."""
    content = [{name: _array(value) for name, value in feed.items()} for feed in feeds]
    write_beside(path, json.dumps(content))


def save_outputs(path: Path, runner: str, runs: Iterable[Feed]) -> None:
    """What one runner answered (`polygraphy run --load-outputs`)."""
    results = [
        {
            "outputs": {
                name: {"values": _array(value), KIND: "LazyArray"} for name, value in run.items()
            },
            "runtime": None,
            "runner_name": runner,
            KIND: "IterationResult",
        }
        for run in runs
    ]
    write_beside(path, json.dumps({"lst": [[runner, results]], KIND: "RunResults"}))


def load_inputs(path: Path) -> list[dict[str, Array]]:
    """BadInput for anything that is not such a list."""
    content = _read(path)
    if not isinstance(content, list) or not content:
        raise BadInput(f"{path} holds no list of inputs as Polygraphy saves them")
    return [_feed(each, path) for each in content]


def load_outputs(path: Path) -> dict[str, list[dict[str, Array]]]:
    """Runner → what it answered, run by run. BadInput for anything else."""
    content = _read(path)
    try:
        pairs = content["lst"]
        found = {str(name): [_feed(run["outputs"], path) for run in runs] for name, runs in pairs}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{path} holds no outputs as Polygraphy saves them") from error
    if not any(found.values()):
        raise BadInput(f"{path} holds no outputs as Polygraphy saves them")
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path, LARGEST_BYTES))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON") from error


def _array(value: Array) -> dict[str, str]:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(value), allow_pickle=False)
    return {"array": base64.b64encode(buffer.getvalue()).decode(), KIND: "ndarray"}


def _feed(content: Any, path: Path) -> dict[str, Array]:
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{path} holds no values by name as Polygraphy saves them")
    return {str(name): _values(value, str(name), path) for name, value in content.items()}


def _values(content: Any, name: str, path: Path) -> Array:
    """Of an array, or of a lazy one around it. Nothing is unpickled."""
    shown = json.dumps(name[:80])
    if isinstance(content, dict) and content.get(KIND) == "LazyArray":
        content = content.get("values")
    text = content.get("array") if isinstance(content, dict) else None
    if not isinstance(text, str):
        raise BadInput(f"{path}: {shown} holds no array; a file beside it is not opened")
    try:
        return read_npy(base64.b64decode(text, validate=True))
    except UNREADABLE as error:  # base64's own error is a ValueError
        raise BadInput(f"{path}: {shown} holds no array that can be read") from error
