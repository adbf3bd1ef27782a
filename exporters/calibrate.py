"""Calibration: which range of each value an int8 engine is to hold, from what real inputs reach.

The canonical model runs under ONNX Runtime with the values exposed, twice: once for the extremes,
once for histograms between them.

Methods: `min-max` holds everything seen. `percentile` leaves out the outermost 0.01 %. `entropy`
takes the range whose 128 steps tell the least untruth about the distribution of magnitudes, as
TensorRT's calibrator did (Migacz, "8-bit inference with TensorRT", GTC 2017).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.lower import INPUT
from compiler.quantise import Range
from datac.documents.build_folder import MODEL
from datac.documents.quantisation import Method
from exporters.expose import expose
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, Engine, TargetFailed, require

METHODS: tuple[Method, ...] = get_args(Method)

BINS = 4096
OUTERMOST = 1e-4
"""Share of the values that `percentile` leaves out, at both ends together."""
SMALLEST = 1e-30
"""A range that is no range."""
STEPS = 128
"""Of the magnitudes in int8."""

Image = NDArray[np.float32]
Counts = NDArray[np.float64]
Progress = Callable[[str, float], None]


@dataclass
class Histogram:
    """Of one value over all inputs: extremes, and counts in equal bins between them."""

    low: float = 0.0
    high: float = 0.0
    counts: Counts | None = None

    def reach(self, values: NDArray[Any]) -> None:
        """Take in the extremes; 0 is always within. ValueError where they are not finite."""
        if not np.isfinite(values).all():
            raise ValueError("has values that are not finite")
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def add(self, values: NDArray[Any]) -> None:
        """Count, once the extremes are known."""
        if self.high - self.low < SMALLEST:
            return  # nothing to tell apart
        wide = values.astype(np.float64)
        counts, _ = np.histogram(wide, bins=BINS, range=(self.low, self.high))
        self.counts = counts if self.counts is None else self.counts + counts

    def range(self, method: Method) -> Range:
        """What to hold."""
        if method == "min-max" or self.counts is None or self.low == self.high:
            return self.low, self.high
        return self._percentile() if method == "percentile" else self._entropy()

    def _edges(self) -> NDArray[np.float64]:
        return np.linspace(self.low, self.high, BINS + 1)

    def _percentile(self) -> Range:
        assert self.counts is not None
        share = np.cumsum(self.counts) / self.counts.sum()
        edges = self._edges()
        first = int(np.searchsorted(share, OUTERMOST / 2, side="right"))
        last = int(np.searchsorted(share, 1 - OUTERMOST / 2, side="left"))
        return min(0.0, float(edges[first])), max(0.0, float(edges[min(last, BINS - 1) + 1]))

    def _entropy(self) -> Range:
        assert self.counts is not None
        edges = self._edges()
        middle = (edges[1:] + edges[:-1]) / 2
        most = max(-self.low, self.high)
        magnitudes, _ = np.histogram(
            np.abs(middle), bins=BINS // 2, range=(0, most), weights=self.counts
        )
        # What a ReLU set to 0 is exact with any step, and would outweigh all that is not.
        magnitudes[0] = magnitudes[1]
        threshold = most * least_divergent(magnitudes) / len(magnitudes)
        return max(self.low, -threshold), min(self.high, threshold)


def least_divergent(counts: Counts) -> int:
    """How many of the bins from 0 on to keep, so that `STEPS` steps of them diverge least.

    The divergence is KL(P || Q): P has what lies beyond in its last bin, Q is P's inner part,
    spread evenly within each step over the bins that are not empty.
    """
    candidates = range(STEPS, len(counts) + 1, STEPS // 16)
    return min(reversed(candidates), key=lambda kept: _divergence(counts, kept))


def _divergence(counts: Counts, kept: int) -> float:
    inner = counts[:kept]
    p = inner.copy()
    p[-1] += counts[kept:].sum()
    step = np.arange(kept) * STEPS // kept
    filled = inner > 0
    total = np.bincount(step, weights=inner, minlength=STEPS)
    bins = np.bincount(step, weights=filled, minlength=STEPS)
    q = np.where(filled, total[step] / np.maximum(bins[step], 1), 0.0)
    p, q = p / p.sum(), q / max(q.sum(), 1.0)
    # A bin that only the cut-off values fill is not in Q: a tiny share instead of infinity.
    where = p > 0
    return float(np.sum(p[where] * np.log(p[where] / np.maximum(q[where], 1e-9))))


def calibrate(
    graph: Graph,
    model: onnx.ModelProto,
    groups: Mapping[str, str],
    inputs: Sequence[Image],
    method: Method,
    progress: Progress | None = None,
) -> dict[str, Range]:
    """Group → its range: all that its values are to hold.

    graph, model: the canonical ones. groups: value → group, `compiler.quantise.quantised_values`.
    inputs: (N, C, H, W) each. Raises PlatformMissing without ONNX Runtime, TargetFailed
    for values that are not finite.
    """
    histograms = {value: Histogram() for value in groups}
    for done, (value, seen) in enumerate(_observed(graph, model, groups, inputs)):
        try:
            histograms[value].reach(seen)
        except ValueError as error:
            raise TargetFailed(f"{value} {error}, so no range holds them") from error
        _say(progress, done, 2 * len(groups) * len(inputs))
    for done, (value, seen) in enumerate(_observed(graph, model, groups, inputs)):
        histograms[value].add(seen)
        _say(progress, done + len(groups) * len(inputs), 2 * len(groups) * len(inputs))
    ranges: dict[str, Range] = {}
    for value, group in groups.items():
        low, high = histograms[value].range(method)
        known = ranges.get(group, (0.0, 0.0))
        ranges[group] = (min(known[0], low), max(known[1], high))
    return ranges


def _say(progress: Progress | None, done: int, whole: int) -> None:
    if progress is not None:
        progress("calibration", (done + 1) / whole)


def _observed(
    graph: Graph, model: onnx.ModelProto, values: Iterable[str], inputs: Sequence[Image]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """(value, what it is) for each value and input."""
    labels = {value: graph[value].label for value in values if value != INPUT}
    target = resolve("onnx")
    require(target.missing())
    with tempfile.TemporaryDirectory(prefix="datac-calibration-") as folder:
        write_model(expose(model, labels.values()), Path(folder) / MODEL)
        options = BuildOptions((1, *inputs[0].shape[1:]), dynamic_height_width=True)
        with target.load(Path(folder), Engine(MODEL, {}, "cpu"), options) as runner:
            for x in inputs:
                answers = {INPUT: x, **runner.run({INPUT: x})}
                for value in values:
                    yield value, answers[labels.get(value, value)]
