"""Torch's tensors into a safetensors file; `compiler.weights` reads it back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from datac.output_folder import write_beside


def write_weights_file(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Whole or not at all; the names in order, so equal tensors give an equal file."""
    ordered = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write_beside(path, save(ordered))
