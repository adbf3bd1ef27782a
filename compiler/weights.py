"""A file of weights, read safely, and whether its tensors fit a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from compiler.graph import Weights
from datac.documents.build_folder import WEIGHTS
from datac.errors import BadInput

LARGEST_WEIGHTS = 2**31
"""Bytes. A larger file cannot become one ONNX file."""


def read_weights_file(path: Path) -> Weights:
    """The tensors of a safetensors file; BadInput for anything else, a pickle above all."""
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder; give the file in it: {path / WEIGHTS}")
        if not path.is_file():
            raise BadInput(f"{path}: there is no such file")
        if path.stat().st_size > LARGEST_WEIGHTS:
            raise BadInput(f"{path} is larger than 2 GB, the limit of one ONNX file")
        with path.open("rb") as file:
            start = file.read(4)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise BadInput(
                f"{path} is a pickle, which can run code when it is read; save the state dict with "
                "safetensors.torch.save_file and give that file"
            )
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path} is not a safetensors file ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        # A type that numpy lacks, such as bfloat16.
        raise BadInput(f"{path} holds tensors of a type other than float32 ({error})") from error


def check_weights(wanted: Mapping[str, tuple[int, ...]], weights: Weights, source: str) -> None:
    """BadInput unless names and shapes are exactly the wanted ones; `source` is the file's name.

    A shape that differs is named before a name that is missing: it says more about the cause.
    """
    for name, shape in wanted.items():
        if name in weights and tuple(weights[name].shape) != shape:
            raise BadInput(
                f"{source}: tensor {name} has shape {tuple(weights[name].shape)}, "
                f"the network needs {shape}"
            )
    for problem, names in (
        ("is missing", sorted(wanted.keys() - weights.keys())),
        ("is not part of this network", sorted(weights.keys() - wanted.keys())),
    ):
        if names:
            more = f" ({len(names) - 1} more likewise)" if len(names) > 1 else ""
            raise BadInput(f"{source}: tensor {names[0]} {problem}{more}")
