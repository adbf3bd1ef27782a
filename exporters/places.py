"""The judge of places: what each path, sum and layer of an engine makes of what it is really given.

An output alone tells little: in f16 a healthy engine is as far off as one with a small path broken,
and a broken one does not say where. Here every place gets the values that the engine itself brought
to it, computes in float64 what follows, and allows for the rounding of this one place. So an error
is seen where it arises and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.interpreter import Array, Interpreter
from compiler.places import Region, boundaries, place_name, region
from compiler.precision import FLOAT32, rounded
from exporters.rounding import (
    EXACT,
    Arithmetic,
    Noise,
    arithmetic_of,
    expected,
    integer_width,
    rms,
)

FEW_RUNS, MANY_RUNS = 3, 15
STEADY = 0.1
"""Of noisy runs: few are enough where their RMS errors spread by no more than this share."""

TOLERATED = 1.5
"""Times the predicted error of a place. Healthy runs of ONNX Runtime, OpenVINO and numpy, in f32,
f16, bf16 and with TF32's rounding, optimised or not, with older instructions too, are at 1.32 at
most (docs/results/gate.md); in int8 they were below 0.75 (docs/results/precision.md)."""

Seen = Mapping[str, NDArray[np.generic]]
"""Name of a node → what the engine computed there, for one batch of inputs."""


@dataclass(frozen=True)
class PlaceError:
    """The root-mean-square error of a value, and what the arithmetic before it predicts.

    place: of the value. shape: that the engine's value has another one; then nothing is compared.
    """

    place: str
    value: str
    rms: float
    predicted: float
    shape: bool = True

    @property
    def ratio(self) -> float:
        """Observed over predicted; infinite where nothing may be off and something is."""
        if not (self.shape and np.isfinite(self.rms)):
            return float("inf")
        if self.predicted == 0:
            return 0.0 if self.rms == 0 else float("inf")
        return self.rms / self.predicted


def judge_places(
    graph: Graph, seen: Seen, arithmetic: Arithmetic, seed: int = 0
) -> list[PlaceError]:
    """Every value seen, by the values seen before it, in the network's order.

    graph: as deployed, so with folded and rounded weights. seen: the inputs, and of the other
    values as many as there are; with all of `boundaries(graph)` each place is judged alone.
    """
    run = Interpreter(graph)
    order = [node.name for node in graph.nodes() if node.name in seen]
    with np.errstate(invalid="ignore", over="ignore"):  # a value may be infinite: the ratio says it
        return [
            _judge(run, region(graph, name, seen.keys()), seen, arithmetic, seed)
            for name in order
            if graph.operands(name)
        ]


def unseen(graph: Graph, seen: Seen) -> list[str]:
    """The places of which a value is missing, in the network's order."""
    return list(
        dict.fromkeys(place_name(graph[name]) for name in boundaries(graph) if name not in seen)
    )


def _judge(
    run: Interpreter, part: Region, seen: Seen, arithmetic: Arithmetic, seed: int
) -> PlaceError:
    name, found = part.value, seen[part.value].astype(np.float64)
    given = {read: seen[read].astype(np.float64) for read in part.reads}
    place = place_name(run.nodes[name])
    try:
        exact = run.run(given, wanted=[name], names=part.nodes)[name]
    except ValueError:  # numpy's, where what is read has another shape
        return PlaceError(place, name, 0.0, 0.0, shape=False)
    if found.shape != exact.shape:
        return PlaceError(place, name, 0.0, 0.0, shape=False)
    predicted = _predicted(run, part, given, exact, arithmetic, seed)
    return PlaceError(place, name, rms(found - exact), predicted)


def _predicted(
    run: Interpreter,
    part: Region,
    given: Mapping[str, Array],
    exact: Array,
    arithmetic: Arithmetic,
    seed: int,
) -> float:
    """The RMS error to expect: that of noisy runs, and of writing the result once."""
    own = arithmetic_of(run.nodes[part.value], arithmetic)
    written = (rms(np.maximum(np.abs(exact), own.smallest)) * own.unit) ** 2 / 3
    widths = {name: integer_width(run.nodes, name) for name in part.reads}
    if all(isinstance(run.nodes[name].op, EXACT) for name in part.nodes) and not any(
        widths.values()
    ):
        return float(written**0.5)
    # A value that is exposed may be wider than what the next operation reads of it.
    narrow = own is arithmetic and arithmetic.dtype != FLOAT32
    as_read = {name: rounded(x, arithmetic.dtype) if narrow else x for name, x in given.items()}
    noise = Noise(arithmetic, seed, beside=FEW_RUNS)
    errors: list[float] = []
    while len(errors) < FEW_RUNS or (
        len(errors) < MANY_RUNS and np.std(errors) > STEADY * np.mean(errors)
    ):
        # Runs beside each other, as one batch: most maps are small, and numpy's calls are not.
        read = {
            name: noise.on_integers(np.concatenate([as_read[name]] * FEW_RUNS), widths[name])
            for name in part.reads
        }
        noisy = run.run(read, wanted=[part.value], names=part.nodes, after=noise)[part.value]
        errors += [rms(y - exact) * noise.scale for y in np.split(noisy, FEW_RUNS)]
    return float((written + expected(errors) ** 2) ** 0.5)
