"""The proof of a rewrite: both graphs in float64, and nothing but rounding between them.

Run by the interpreter, which shares nothing with what trains and what is exported, so a proof needs
no torch and can be had wherever an engine is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph, Weights
from compiler.interpreter import Array, Interpreter
from compiler.rewrite import Applied, Rewrite, apply

TOLERANCE = 1e-12
"""Relative; folding measured at most 5e-15 (docs/performance.md)."""

EVEN, ODD = (16, 24), (17, 23)
"""(height, width) that a rewrite is proved at, unless it holds for one size alone."""


@dataclass(frozen=True)
class Proof:
    """The largest difference over all outputs, relative to the largest magnitude."""

    max_relative: float

    @property
    def holds(self) -> bool:
        """Whether the graphs are one function up to rounding in float64."""
        return self.max_relative <= TOLERANCE


@dataclass(frozen=True)
class Proved:
    """What one rewrite of a plan did to a graph, and the proof of all up to it."""

    rewrite: str
    places: tuple[Applied, ...]
    proof: Proof


def prove(
    before: Graph,
    after: Graph,
    *,
    seed: int = 0,
    batch: int = 2,
    size: tuple[int, int] | None = None,
) -> Proof:
    """Run both on the same random inputs, of the graph's own sizes or of another (height, width).

    Weights are those bound to each graph: bind random ones (`randomise`) before rewriting.
    """
    inputs = draw_inputs(before, seed, batch, size)
    return difference(run(before, inputs), run(after, inputs))


def difference(left: Mapping[str, Array], right: Mapping[str, Array]) -> Proof:
    """Of the outputs of two graphs, by name."""
    ratios = [0.0]
    for key, value in left.items():
        scale = max(float(np.abs(value).max()), 1e-300)
        ratios.append(float(np.abs(value - right[key]).max()) / scale)
    return Proof(float(np.max(ratios)))  # NaN if any is, unlike Python's max


def draw_inputs(
    graph: Graph, seed: int, batch: int, size: tuple[int, int] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Name of an input → values; `size` is the (height, width) of those that have one."""
    generator = np.random.default_rng(seed)
    inputs = {}
    for node in graph.inputs:
        shape = [batch if isinstance(edge, str) else edge for edge in node.type.shape]
        if size is not None and len(shape) == 4:
            shape[2:] = size
        inputs[node.name] = generator.standard_normal(shape)
    return inputs


def run(graph: Graph, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, Array]:
    """The graph's outputs by name, in float64."""
    with np.errstate(invalid="ignore", over="ignore"):  # NaN is an answer: it proves nothing
        return Interpreter(graph).run(inputs)


def prove_each(
    graph: Graph, canonical: Graph, rewrites: Sequence[Rewrite], *, seed: int = 0
) -> list[Proved]:
    """Prove every rewrite of a plan, each on what those before it have left.

    graph: the network with its own weights; canonical: the same with batch norms folded. Each
    rewrite is held to `graph` itself: with its own weights, where what depends on their values
    fires just where it does in the engine, and with random ones (batch-norm statistics too) of the
    same signs. At an even and an odd size; one that holds for one size alone, at that.
    """
    random = graph.copy()
    randomise(random, seed, like=graph.weights)
    tracks = [_Track(random, _folded(random), seed + 1)]
    if all(np.isfinite(value).all() for value in canonical.weights.values()):
        # NaN proves nothing of a rewrite, and the gate has a word for it.
        tracks.insert(0, _Track(widened(canonical), widened(canonical), seed))
    proved, own_size = [], False
    for rewrite in rewrites:
        logs = [track.rewrite(rewrite) for track in tracks]
        own_size |= needs_own_size(rewrite) and any(logs)
        proofs = [track.prove(own_size=own_size) for track in tracks]
        worst = Proof(float(np.max([proof.max_relative for proof in proofs])))
        proved.append(Proved(rewrite.name, tuple(logs[0]), worst))
    return proved


def needs_own_size(rewrite: Rewrite) -> bool:
    """Whether it holds for the size that the graph is typed with, and no other."""
    return bool(getattr(rewrite, "one_size", False))


class _Track:
    """One set of weights: the graph that all is held to, and what the rewrites have made so far."""

    def __init__(self, before: Graph, now: Graph, seed: int) -> None:
        self._before, self._now, self._seed = before, now, seed
        self._answers: dict[tuple[int, int] | None, dict[str, Array]] = {}

    def rewrite(self, rewrite: Rewrite) -> list[Applied]:
        self._now, log = apply(self._now, (rewrite,))
        return log

    def prove(self, *, own_size: bool) -> Proof:
        sizes: Sequence[tuple[int, int] | None] = (None,) if own_size else (EVEN, ODD)
        return Proof(float(np.max([self._at(size).max_relative for size in sizes])))

    def _at(self, size: tuple[int, int] | None) -> Proof:
        inputs = draw_inputs(self._before, self._seed, 1, size)
        if size not in self._answers:
            self._answers[size] = run(self._before, inputs)
        return difference(self._answers[size], run(self._now, inputs))


def _folded(graph: Graph) -> Graph:
    from compiler.passes import CANONICAL

    return apply(graph, CANONICAL)[0]


def widened(graph: Graph) -> Graph:
    """The same graph with its weights in float64, so that what is merged is not rounded."""
    twin = graph.copy()
    twin.weights = {
        name: value.astype(np.float64) if value.dtype.kind == "f" else value
        for name, value in graph.weights.items()
    }
    return twin


def randomise(graph: Graph, seed: int = 0, like: Weights | None = None) -> None:
    """Bind random float64 weights: small filters, batch-norm gains and variances around one.

    like: whose signs they take, and whose zeros.
    """
    generator = np.random.default_rng(seed)
    weights: dict[str, NDArray[Any]] = {}
    for name, spec in graph.weight_specs().items():
        if spec.dtype == "int64":
            weights[name] = np.zeros(spec.shape, np.int64)
            continue
        if name.endswith("running_var") or (len(spec.shape) == 1 and name.endswith("weight")):
            drawn = generator.uniform(0.5, 2.0, spec.shape)
        else:
            fan_in = max(1, int(np.prod(spec.shape[1:])))
            drawn = generator.standard_normal(spec.shape) / np.sqrt(fan_in)
        weights[name] = drawn if like is None else np.abs(drawn) * _signs(like[name])
    graph.weights = weights


def _signs(values: NDArray[Any]) -> NDArray[Any]:
    """-1, 0 or 1; NaN has none, and counts as 0."""
    return np.asarray(np.nan_to_num(np.sign(values)))
