"""What the times of single candidates do not add up to, fitted on whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRIOR = 0.05
"""How much a factor's distance from 1 weighs, against relative errors of the fitted networks."""

LEAST = 1e-6

LARGEST_MEAN_ERROR = 0.1
"""On the held-out genotypes, of a table that says something. On idle machines it was 2 to 3 %."""


@dataclass(frozen=True)
class Residual:
    """The held-out genotypes: predicted and measured milliseconds of each."""

    predicted_ms: tuple[float, ...]
    measured_ms: tuple[float, ...]

    @property
    def errors(self) -> NDArray[np.float64]:
        """|predicted - measured| / measured."""
        predicted, measured = np.array(self.predicted_ms), np.array(self.measured_ms)
        relative: NDArray[np.float64] = np.abs(predicted - measured) / measured
        return relative

    @property
    def mean_error(self) -> float:
        """The mean of them."""
        return float(np.mean(self.errors))

    @property
    def largest_error(self) -> float:
        """The largest of them."""
        return float(np.max(self.errors))

    @property
    def small(self) -> bool:
        """Whether the table says something about a network that it has not seen."""
        return self.mean_error <= LARGEST_MEAN_ERROR


def fit(
    sums: Sequence[Mapping[str, float]], measured: Sequence[float], operations: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """(remainder, factor of each operation) of the networks' relative errors, factors near 1.

    Minimises Σ ((r + Σ f·s - t) / t)² + `PRIOR` · mean s² / mean t² · Σ (f - 1)².
    """
    t = np.asarray(measured, np.float64)
    s = np.array([[each[name] for name in operations] for each in sums])
    rows = np.hstack([np.ones((len(t), 1)), s]) / t[:, None]
    weight = np.sqrt(PRIOR) * np.sqrt(np.mean(s**2, axis=0)) / np.mean(t)
    weight = np.maximum(weight, LEAST)  # what no network has keeps its own time
    prior = np.hstack([np.zeros((len(operations), 1)), np.diag(weight)])
    left: NDArray[np.float64] = np.vstack([rows, prior])
    right = np.concatenate([np.ones(len(t)), weight])
    solution, *_ = np.linalg.lstsq(left, right, rcond=None)
    return float(solution[0]), {
        name: max(0.0, float(factor)) for name, factor in zip(operations, solution[1:], strict=True)
    }
