"""The float64 reference, and the float32 error that its arithmetic predicts.

The prediction runs the *folded* graph, which is what engines run, once more in float64 with the
noise of `exporters.rounding`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.interpreter import Array, Interpreter
from compiler.lower import INPUT
from exporters.reference import Case, Reference
from exporters.rounding import ARITHMETIC, Noise, expected

FEWEST_VALUES, MOST_RUNS = 100, 8
"""From n errors a root mean square is known to 1 / √(2n): to 7 % from 100."""


def make_reference(
    graph: Graph, canonical: Graph, inputs: Sequence[tuple[str, NDArray[np.float32]]]
) -> Reference:
    """Outputs of the unfolded graph in float64, and the predicted relative error per output.

    The relative error is that of noisy runs of all inputs, and how much it differs among them.
    """
    exact, folded, noise = Interpreter(graph), Interpreter(canonical), Noise(ARITHMETIC["f32"])
    cases = []
    errors: dict[str, list[float]] = {key: [] for key in graph.outputs}
    for name, x in inputs:
        outputs = {key: y.astype(np.float64) for key, y in exact.run({INPUT: x}).items()}
        cases.append(Case(name, x, outputs))
        for _ in range(_runs(outputs, len(inputs))):
            for key, y in folded.run({INPUT: x}, after=noise).items():
                size = np.mean(np.square(outputs[key]))
                error = np.mean(np.square(y - outputs[key]))
                errors[key].append(float(np.sqrt(error / size)) if size else 0.0)
    predicted = {key: expected(values) * noise.scale for key, values in errors.items()}
    return Reference(tuple(cases), predicted)


def _runs(outputs: Mapping[str, Array], cases: int) -> int:
    """Noisy runs of each case, so that the smallest output is some `FEWEST_VALUES` in all."""
    smallest = min(y.size for y in outputs.values())
    return min(MOST_RUNS, math.ceil(FEWEST_VALUES / (cases * smallest)))
