"""Tensors by name in a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.torch import save
from torch import Tensor

from compiler.graph import Weights
from datac.errors import BadInput
from datac.output_folder import write_beside


def read_weights_file(path: Path) -> Weights:
    """Name → array; BadInput for anything but a safetensors file."""
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file")
    try:
        weights: Weights = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path} is not a safetensors file ({error})") from error
    return weights


def write_weights_file(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Whole or not at all; the names in order, so equal tensors give an equal file."""
    ordered = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write_beside(path, save(ordered))
