"""The float64 reference, and the error that an engine's arithmetic predicts.

The prediction runs the graph that an engine runs (the *folded* one, if it is datac's) once more in
float64 with the noise of `exporters.rounding`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.interpreter import Array, Interpreter
from compiler.lower import INPUT
from compiler.ops import BatchNorm
from exporters.reference import Case, Reference
from exporters.rounding import ARITHMETIC, Arithmetic, Noise, expected

FEWEST_VALUES, MOST_RUNS = 100, 8
"""From n errors a root mean square is known to 1 / √(2n): to 7 % from 100. Those of a batch norm
that is not folded are one for each channel, so there many values count for little."""


def make_reference(
    graph: Graph, deployed: Graph, inputs: Sequence[tuple[str, NDArray[np.float32]]]
) -> Reference:
    """Outputs of the unfolded graph in float64, and the predicted relative error per output."""
    cases = run_cases(graph, [Case(name, x, {}) for name, x in inputs])
    return Reference(cases, predict_errors(deployed, cases, ARITHMETIC["f32"]))


def extended(
    reference: Reference,
    graph: Graph,
    deployed: Graph,
    inputs: Sequence[tuple[str, NDArray[np.float32]]],
) -> Reference:
    """The reference with further cases; the larger of both predicted errors holds for all."""
    more = make_reference(graph, deployed, inputs)
    errors = {
        key: max(error, more.predicted_error[key])
        for key, error in reference.predicted_error.items()
    }
    return Reference((*reference.cases, *more.cases), errors)


def run_cases(graph: Graph, cases: Sequence[Case]) -> tuple[Case, ...]:
    """The same inputs, with what this graph answers in float64."""
    exact = Interpreter(graph)

    def outputs(case: Case) -> dict[str, NDArray[np.float64]]:
        return {key: y.astype(np.float64) for key, y in exact.run({INPUT: case.input}).items()}

    return tuple(replace(case, outputs=outputs(case)) for case in cases)


def predict_errors(
    deployed: Graph, cases: Sequence[Case], arithmetic: Arithmetic
) -> dict[str, float]:
    """Output → the RMS error to expect over the output's RMS, of an engine in that arithmetic.

    That of noisy runs of the deployed graph on all cases, and how much it differs among them.
    """
    run, noise = Interpreter(deployed), Noise(arithmetic)
    errors: dict[str, list[float]] = {key: [] for key in deployed.outputs}
    alike = any(isinstance(node.op, BatchNorm) for node in deployed.nodes())
    fewest = math.ceil(MOST_RUNS / len(cases)) if alike else 1
    for case in cases:
        for _ in range(max(fewest, _runs(case.outputs, len(cases)))):
            for key, y in run.run({INPUT: case.input}, after=noise).items():
                size = np.mean(np.square(case.outputs[key]))
                error = np.mean(np.square(y - case.outputs[key]))
                errors[key].append(float(np.sqrt(error / size)) if size else 0.0)
    return {key: expected(values) * noise.scale for key, values in errors.items()}


def _runs(outputs: Mapping[str, Array], cases: int) -> int:
    """Noisy runs of each case, so that the smallest output is some `FEWEST_VALUES` in all."""
    smallest = min(y.size for y in outputs.values())
    return min(MOST_RUNS, math.ceil(FEWEST_VALUES / (cases * smallest)))
