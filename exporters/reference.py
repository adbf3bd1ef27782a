"""The reference of a build: inputs, their float64 outputs, and how far float32 may be off.

`reference.npz` holds it, so that a machine without torch can judge an engine. Which rounding
error to expect is predicted, not chosen: see `exporters.float64`.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datac.documents.profile import Profile
from datac.errors import BadInput
from datac.output_folder import write_beside
from exporters.npy import UNREADABLE as NO_ARRAY
from exporters.npy import read_npy

F64 = NDArray[np.float64]

TOLERATED = 4.0
"""Times the predicted error. Healthy float32 runs of published cells stay below 1
(`benchmarks/tolerance.py`, `benchmarks/gate.py`). Where a random cell brings the map down to one
pixel, the error of few values decides: of 300 such nets one was at 2.0."""

ODD_CASE, SEEDED, OF_SIZE = "odd-size", "seed", "size-"
"""Names of drawn inputs, or how they begin; those of samples begin with their split."""
DRAWN = re.compile(rf"{ODD_CASE}|{SEEDED}\d+-\d+|{OF_SIZE}[0-9x]+")

LARGEST_BYTES = 2**31
LARGEST_PREDICTION = 1e-3
"""Relative. Healthy nets have some 1e-7 to 1e-6; a gate as wide as this would pass anything."""


UNREADABLE = (
    *NO_ARRAY,
    OSError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
)
"""What zipfile and numpy raise on a file that is none of ours."""


@dataclass(frozen=True)
class Case:
    """One input (N, C, H, W) and what the network answers in float64, by name of output."""

    name: str
    input: NDArray[np.float32]
    outputs: dict[str, F64]

    @property
    def drawn(self) -> bool:
        """Whether the input was drawn at random; otherwise it is a sample of real data."""
        return bool(DRAWN.fullmatch(self.name))


@dataclass(frozen=True)
class Reference:
    """`predicted_error`: per output, the expected RMS error of float32 over the output's RMS."""

    cases: tuple[Case, ...]
    predicted_error: dict[str, float]

    def tolerance(self, case: Case, output: str) -> float:
        """The largest RMS error to accept, in the output's units."""
        size = float(np.sqrt(np.mean(np.square(case.outputs[output]))))
        return TOLERATED * self.predicted_error[output] * size

    def fitting(self, sizes: Profile | None) -> tuple[Case, ...]:
        """The cases whose input lies within these sizes; None takes any."""
        return tuple(case for case in self.cases if sizes is None or sizes.takes(case.input.shape))

    def of_shape(self, shape: tuple[int, ...]) -> tuple[Case, ...]:
        """The cases of just this input shape."""
        return tuple(case for case in self.cases if case.input.shape == shape)

    def first(self, shape: tuple[int, ...]) -> Case:
        """The first case of this input shape; BadInput where there is none."""
        cases = self.of_shape(shape)
        if not cases:
            size = "x".join(map(str, shape))
            raise BadInput(f"the build's reference has no input of size {size}; compile again")
        return cases[0]

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
        _require_plain(path)
        with zipfile.ZipFile(path) as file:
            arrays = {
                member.filename.removesuffix(".npy"): read_npy(file.read(member))
                for member in file.infolist()
            }
        reference = _from_arrays(arrays)
    except UNREADABLE as error:
        raise BadInput(
            f"{path} is not the reference of a build ({error}); compile again"
        ) from error
    for output, relative in reference.predicted_error.items():
        # Not a number may stand here: weights with NaN predict it, and nothing is within it.
        if relative > LARGEST_PREDICTION:
            raise BadInput(
                f"{path} predicts a relative error of {relative:.2g} for output {output}, which is "
                f"not credible (at most {LARGEST_PREDICTION:g}); compile again"
            )
    return reference


def _require_plain(path: Path) -> None:
    """ValueError for a file that unpacks to more than it is: datac compresses nothing in it."""
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("it is compressed")
    if sum(member.file_size for member in members) > LARGEST_BYTES:
        raise ValueError("it unpacks to more than 2 GB")


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
