"""The reference of a build: inputs, their float64 outputs, and how far float32 may be off.

`reference.npz` holds it, so that a machine without torch can judge an engine. Which rounding
error to expect is predicted, not chosen: see `exporters.float64`.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datac.errors import BadInput
from datac.output_folder import write_beside

F64 = NDArray[np.float64]

TOLERATED = 3.0
"""Times the predicted error. Healthy float32 runs measured 0.2 to 1.2 times (ONNX Runtime with and
without optimisation, torch with and without oneDNN; CIFAR, ImageNet and segmentation nets)."""

LARGEST_BYTES = 2**31


@dataclass(frozen=True)
class Case:
    """One input (N, C, H, W) and what the network answers in float64, by name of output."""

    name: str
    input: NDArray[np.float32]
    outputs: dict[str, F64]


@dataclass(frozen=True)
class Reference:
    """`predicted_error`: per output, the expected RMS error of float32 over the output's RMS."""

    cases: tuple[Case, ...]
    predicted_error: dict[str, float]

    def tolerance(self, case: Case, output: str) -> float:
        """The largest RMS error to accept, in the output's units."""
        size = float(np.sqrt(np.mean(np.square(case.outputs[output]))))
        return TOLERATED * self.predicted_error[output] * size

    def fitting(self, shape: tuple[int, ...] | None) -> tuple[Case, ...]:
        """The cases of this input shape; None takes any."""
        return tuple(case for case in self.cases if shape is None or case.input.shape == shape)

    def save(self, path: Path) -> None:
        """Write it whole."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for case in self.cases:
            arrays[f"input/{case.name}"] = case.input
            arrays |= {f"output/{case.name}/{key}": value for key, value in case.outputs.items()}
        for key, error in self.predicted_error.items():
            arrays[f"predicted_error/{key}"] = np.array(error, np.float64)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        write_beside(path, buffer.getvalue())


def load_reference(path: Path) -> Reference:
    """Read it back; BadInput for anything that is not such a file. Nothing is unpickled."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise BadInput(f"{path} is larger than 2 GB and is no reference of a build")
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        return _from_arrays(arrays)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{path} is not the reference of a build ({error}); compile again"
        ) from error


def _from_arrays(arrays: dict[str, NDArray[np.generic]]) -> Reference:
    predicted = {
        key.removeprefix("predicted_error/"): float(value)
        for key, value in arrays.items()
        if key.startswith("predicted_error/")
    }
    names = [key.removeprefix("input/") for key in arrays if key.startswith("input/")]
    if not names or not predicted:
        raise ValueError("it holds no cases")
    cases = tuple(
        Case(
            name,
            arrays[f"input/{name}"].astype(np.float32),
            {key: arrays[f"output/{name}/{key}"].astype(np.float64) for key in predicted},
        )
        for name in names
    )
    return Reference(cases, predicted)
