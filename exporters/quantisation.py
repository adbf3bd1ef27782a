"""A build's network in int8: made from calibration, made again from a side-car, and judged.

A side-car may be wrong as any other file, and so may a calibration: an engine that is exactly what
its plan says can still be a bad one. So the plan itself is judged on the reference's real inputs:
a network that strays much farther from float64 than with the same steps, but any number of them, is
clipped by its ranges.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.interpreter import Array, Interpreter
from compiler.lower import INPUT, OUTPUT
from compiler.ops import Quantize
from compiler.quantise import Range, Scheme, convolutions, quantised, quantised_values
from datac.documents.quantisation import CalibratedRange, Method, Quantisation
from datac.errors import BadInput
from exporters.calibrate import Progress, calibrate
from exporters.reference import Case
from exporters.rounding import rms

CLIPPED = 3.0
"""Times the error without clipping. `percentile` and `entropy` clip on purpose: 1.7 was
seen on a trained net (docs/results/precision.md)."""


FARTHEST = 0.5
"""Of the logits' size. A trained net had 0.02, small ones with random weights up to 0.1."""


@dataclass(frozen=True)
class Calibration:
    """What ranges are taken from. inputs: (N, C, H, W) each.

    kept: what stays in float32, by name or in the words of `exporters.kept`.
    """

    inputs: tuple[NDArray[np.float32], ...]
    method: Method = "percentile"
    kept: tuple[str, ...] = ()


def quantise(
    graph: Graph,
    model: onnx.ModelProto,
    scheme: Scheme,
    calibration: Calibration,
    progress: Progress | None = None,
) -> Quantisation:
    """Calibrate the canonical graph, `model` its ONNX. BadInput where all of it is kept."""
    if not _in_int8(graph, calibration.kept):
        raise BadInput("--keep leaves no convolution in int8; keep less, or choose --precision f32")
    # Of all that could be in int8, so that a range does not depend on what is kept.
    groups = quantised_values(graph, convolutions(graph))
    ranges = calibrate(graph, model, groups, calibration.inputs, calibration.method, progress)
    whole = Quantisation(
        activations=scheme.activations,
        bias=scheme.bias_type,
        averages=scheme.averages,
        method=calibration.method,
        samples=len(calibration.inputs),
        ranges=tuple(
            CalibratedRange(group=group, low=low, high=high)
            for group, (low, high) in ranges.items()
        ),
    )
    return keeping(graph, whole, calibration.kept)


def keeping(graph: Graph, whole: Quantisation, kept: Collection[str]) -> Quantisation:
    """The same ranges for fewer convolutions. ValueError for a kept one that the graph lacks."""
    groups = {*quantised_values(graph, _in_int8(graph, kept)).values()}
    ranges = tuple(entry for entry in whole.ranges if entry.group in groups)
    order = tuple(name for name in convolutions(graph) if name in kept)
    return whole.model_copy(update={"kept": order, "ranges": ranges})


def quantised_graph(graph: Graph, plan: Quantisation) -> Graph:
    """The canonical graph as an engine of this plan computes it; ValueError for a plan of another.

    Graphs differ in their nodes, and so in the groups that have ranges.
    """
    convs = _in_int8(graph, plan.kept)
    ranges = {entry.group: (entry.low, entry.high) for entry in plan.ranges}
    wanted = {*quantised_values(graph, convs).values()}
    differ = sorted(wanted ^ {*ranges})
    if differ:
        what = "has no range" if differ[0] in wanted else "has a range and is not quantised"
        raise ValueError(f"{differ[0]} {what}")
    _require_finite(ranges)
    return quantised(graph, convs, ranges, scheme_of(plan))


def scheme_of(plan: Quantisation) -> Scheme:
    """What its target is fast with."""
    return Scheme(plan.activations, plan.bias, plan.averages)


def _in_int8(graph: Graph, kept: Collection[str]) -> list[str]:
    every = convolutions(graph)
    unknown = sorted({*kept} - {*every})
    if unknown:
        raise ValueError(f"{unknown[0]} is no convolution of this network")
    return [name for name in every if name not in kept]


def _require_finite(ranges: Mapping[str, Range]) -> None:
    for group, (low, high) in ranges.items():
        if not (np.isfinite([low, high]).all() and low <= high):
            raise ValueError(f"{group} has the range {low:g} to {high:g}")


@dataclass(frozen=True)
class Distance:
    """How far int8 takes the logits from float64's: relative RMS errors over some inputs.

    unclipped: with the same steps, but any number of them.
    """

    found: float
    unclipped: float

    def why_unfit(self) -> str | None:
        """One sentence where the plan's ranges do not fit."""
        if self.found <= CLIPPED * self.unclipped:
            return self._why_coarse()
        return (
            f"int8 takes {OUTPUT} {self.found:.3g} of their size from float64's, and its steps "
            f"explain {self.unclipped:.3g}; its ranges clip the values: calibrate on data like "
            "that of the reference"
        )

    def _why_coarse(self) -> str | None:
        if self.found <= FARTHEST:
            return None
        return (
            f"int8 takes {OUTPUT} {self.found:.3g} of their size from float64's, and {FARTHEST:g} "
            "is the most; its steps are too coarse for the values"
        )


def distance(deployed: Graph, cases: Sequence[Case], exact: Sequence[Array]) -> Distance:
    """Of a quantised graph. exact: what it answers to each case in float64."""
    run = Interpreter(deployed)
    found, unclipped = [], []
    for case, answer in zip(cases, exact, strict=True):
        wanted: NDArray[Any] = case.outputs[OUTPUT]
        size = rms(wanted) or 1.0
        found.append(rms(answer - wanted) / size)
        free = run.run({INPUT: case.input}, after=_any_number_of_steps)[OUTPUT]
        unclipped.append(rms(free - wanted) / size)
    return Distance(rms(np.array(found)), rms(np.array(unclipped)))


def _any_number_of_steps(
    node: Node, weights: Mapping[str, Array], operands: tuple[Array, ...], result: Array
) -> Array:
    del weights
    return node.op.steps(operands[0]) if isinstance(node.op, Quantize) else result
