"""`datac table`: what every candidate costs on this machine, so that a search can be bounded by it.

Measured in a small context, since alone a candidate costs something else: an engine in which some
copies of it add to the result of a convolution and are read by one, less the same engine without
them, in rounds that go over all candidates of a place in turn. What such differences do not add up
to (kernels that a runtime fuses across paths, what every network has besides) is fitted on whole
networks of random genotypes:

    latency ≈ remainder + Σ over the paths of factor(operation) · entry

by least squares with a prior of 1 on each factor, which is then multiplied into the entries. How
far the sum is off is measured on other genotypes, which no fit has seen.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.candidates import CANDIDATES, Place
from compiler.graph import Graph
from compiler.lower import INPUT, OUTPUT, lower
from compiler.ops import Conv, Input, Relu, Sum
from compiler.passes import CANONICAL, REWRITES
from compiler.path_places import PathPlace, path_places
from compiler.proof import randomise
from compiler.rewrite import apply
from compiler.scope import Scope
from datac.documents.genotype import CELL_KINDS, Cell, Genotype, Node
from datac.documents.latency_table import (
    LatencyEntry,
    LatencyRemainder,
    LatencyTable,
    Machine,
    Runtime,
)
from datac.documents.network import Network
from datac.documents.precision import Precision
from datac.documents.report import Latency
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput, PlatformMissing
from exporters.control import FEWEST_ROUNDS, interval
from exporters.default_plan import rewrites_for
from exporters.environment import environment
from exporters.latency_fit import Residual, fit
from exporters.measure import measure
from exporters.onnx_writer import write_onnx
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, Runner, missing_for

COPIES = 3
"""Of a candidate in its context: more of them stand out better from the noise."""

MOST_PATHS = 4
"""Of a node in a random genotype."""

TOGETHER = 12
"""Whole networks that are loaded at once; each holds its weights and its largest activations."""

ROUNDS = 15

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Course:
    """What to measure. fitted, held_out: how many random genotypes. seconds: for each group."""

    target: str
    network: Network
    space: SearchSpace
    threads: int | None = None
    precision: Precision = "f32"
    fitted: int = 24
    held_out: int = 20
    seconds: float = 10.0
    days: int = 90
    seed: int = 0
    progress: Progress | None = None
    command: str = ""

    def say(self, what: str, share: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, share)


def make_table(course: Course) -> tuple[LatencyTable, Residual]:
    """Measure. PlatformMissing where the target cannot run here."""
    return _Measuring(course).run()


class _Measuring:
    def __init__(self, course: Course) -> None:
        self._course = course
        self._target = resolve(course.target)
        self._options = BuildOptions(
            (1, *course.network.input), precision=course.precision, threads=course.threads
        )
        if course.target == "torch":
            raise BadInput(
                "eager torch is no engine to time candidates in; choose onnx or openvino"
            )
        lacking = missing_for(self._target, self._options) or self._target.missing_to_run()
        if lacking is not None:
            # What the target says besides is about a build.
            raise PlatformMissing(f"{lacking.what}; measure the table where such engines run")
        self._threads: int | None = None
        self._device = "cpu"

    def run(self) -> tuple[LatencyTable, Residual]:
        places = path_places(self._course.network, self._course.space)[0]
        entries = self._entries(places)
        genotypes = self._genotypes()
        measured = self._networks(genotypes)
        fitted = self._course.fitted
        sums = [self._by_operation(genotype, places, entries) for genotype in genotypes]
        remainder, factors = fit(sums[:fitted], measured[:fitted], self._course.space.operations)
        predicted = [remainder + sum(factors[k] * v for k, v in each.items()) for each in sums]
        residual = Residual(tuple(predicted[fitted:]), tuple(measured[fitted:]))
        table = self._table(entries, factors, remainder, residual)
        return table, residual

    # ---- every candidate in its context --------------------------------------------------------

    def _entries(self, places: Sequence[PathPlace]) -> dict[Any, LatencyEntry]:
        """By key, as measured."""
        contexts: dict[tuple[Any, ...], list[PathPlace]] = {}
        dtype = self._course.precision
        known = {place.key(self._course.target, dtype): place for place in places}
        for place in known.values():
            at = (place.shape, place.stride, place.dilation, place.unstrided)
            contexts.setdefault(at, []).append(place)
        entries: dict[Any, LatencyEntry] = {}
        for done, those in enumerate(contexts.values()):
            self._course.say("candidates", done / len(contexts))
            entries |= self._context(those)
        return entries

    def _context(self, places: Sequence[PathPlace]) -> dict[Any, LatencyEntry]:
        with ExitStack() as stack:
            runners = {"": self._load(stack, context_graph(places[0], None))}
            for place in places:
                runners[place.operation] = self._load(stack, context_graph(place, place.operation))
            shape = (1, *places[0].shape)
            times = self._measure(runners, shape, self._course.seconds)
        base = times[""].round_medians
        entries = {}
        for place in places:
            own = times[place.operation]
            pairs = zip(own.round_medians, base, strict=True)
            low, middle, high = interval([max(0.0, t - b) / COPIES for t, b in pairs])
            entry = LatencyEntry(
                target=self._course.target,
                operation=place.operation,
                shape=shape,
                stride=place.stride,
                dilation=place.dilation,
                unstrided=place.unstrided,
                dtype=self._course.precision,
                n=own.rounds,
                median_ms=middle,
                interval_ms=(low, high),
            )
            entries[entry.key] = entry
        return entries

    def _measure(
        self, runners: Mapping[str, Runner], shape: tuple[int, ...], seconds: float
    ) -> dict[str, Latency]:
        value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        times = measure(
            runners,
            {INPUT: value},
            budget_seconds=seconds,
            rounds=ROUNDS,
            fewest_rounds=FEWEST_ROUNDS,
        )
        first = next(iter(runners.values()))
        self._threads, self._device = first.threads, first.device
        return times

    def _load(self, stack: ExitStack, graph: Graph) -> Runner:
        """The engine of a graph, rewritten as the target's engines are."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datac-table-")))
        canonical, _ = apply(graph, CANONICAL)
        shape = canonical[INPUT].type.shape
        channels, height, width = (int(edge) for edge in shape[1:])
        options = replace(self._options, input_shape=(1, channels, height, width))
        names = rewrites_for(self._course.target, options)
        made, _ = apply(canonical, [REWRITES[name] for name in names])
        write_model(write_onnx(made, {}), folder / "model.onnx")
        (folder / "engine").mkdir()
        engine = self._target.build(folder / "model.onnx", options, folder / "engine")
        return stack.enter_context(self._target.load(folder / "engine", engine, options))

    # ---- whole networks --------------------------------------------------------------------------

    def _genotypes(self) -> list[Genotype]:
        draw = np.random.default_rng(self._course.seed)
        count = self._course.fitted + self._course.held_out
        return [random_genotype(self._course.space, draw) for _ in range(count)]

    def _networks(self, genotypes: Sequence[Genotype]) -> list[float]:
        """Milliseconds of each, as many in the same rounds as there is memory for.

        A group takes every k-th, so that those fitted and those held out share its rounds.
        """
        groups = -(-len(genotypes) // TOGETHER)
        found: dict[int, float] = {}
        for group in range(groups):
            self._course.say("whole networks", group / groups)
            numbers = range(group, len(genotypes), groups)
            seconds = 6 * self._course.seconds / groups
            found |= self._group({number: genotypes[number] for number in numbers}, seconds)
        return [found[number] for number in range(len(genotypes))]

    def _group(self, genotypes: Mapping[int, Genotype], seconds: float) -> dict[int, float]:
        """Number of a genotype → milliseconds, all in the same rounds."""
        with ExitStack() as stack:
            runners = {}
            for number, genotype in genotypes.items():
                graph = lower(genotype, self._course.network)
                _bind(graph, number)
                runners[str(number)] = self._load(stack, graph)
            times = self._measure(runners, (1, *self._course.network.input), seconds)
        return {int(name): float(np.median(times[name].round_medians)) for name in runners}

    def _by_operation(
        self,
        genotype: Genotype,
        places: Sequence[PathPlace],
        entries: Mapping[Any, LatencyEntry],
    ) -> dict[str, float]:
        """Operation → the entries of its paths, added up over all cells."""
        sums = dict.fromkeys(self._course.space.operations, 0.0)
        for place in places:
            entry = entries[place.key(self._course.target, self._course.precision)]
            sums[place.operation] += entry.median_ms * place.count(genotype)
        return sums

    # ---- the document ----------------------------------------------------------------------------

    def _table(
        self,
        entries: Mapping[Any, LatencyEntry],
        factors: Mapping[str, float],
        remainder: float,
        residual: Residual,
    ) -> LatencyTable:
        here, now = environment(), datetime.datetime.now(datetime.UTC)
        name, version = self._runtime(here.packages)
        return LatencyTable(
            machine=Machine(
                device=here.processor if self._device == "cpu" else self._device,
                cores=here.cores,
                threads=self._threads,
                platform=here.platform,
            ),
            runtimes={self._course.target: Runtime(name=name, version=version)},
            rewrites={self._course.target: rewrites_for(self._course.target, self._options)},
            measured=now.replace(microsecond=0),
            expires=now.replace(microsecond=0) + datetime.timedelta(days=self._course.days),
            entries=tuple(_scaled(entry, factors[entry.operation]) for entry in entries.values()),
            remainders=(
                LatencyRemainder(
                    target=self._course.target,
                    dtype=self._course.precision,
                    network=self._course.network,
                    n=self._course.fitted,
                    remainder_ms=remainder,
                    held_out=self._course.held_out,
                    mean_error=residual.mean_error,
                ),
            ),
            command=self._course.command,
        )

    def _runtime(self, packages: Mapping[str, str]) -> tuple[str, str]:
        names = {
            "onnx": "onnxruntime",
            "openvino": "openvino",
            "trt": "tensorrt",
            "trt-rtx": "tensorrt-rtx",
        }
        name = names[self._course.target]
        return name, packages.get(name) or packages.get(f"{name}-gpu", "unknown")


def context_graph(place: PathPlace, operation: str | None) -> Graph:
    """A convolution, paths that add to another's result, and a convolution that reads the sum.

    operation: of the paths; None leaves them out.
    """
    channels, height, width = place.shape
    graph = Graph()
    x = graph.add(INPUT, Input(("N", channels, height, width)))
    scope = Scope(graph)
    read = scope.add("preprocess", Conv(channels, channels, bias=True), x)
    stride = (place.stride, place.stride)
    base = scope.add("base", Conv(channels, channels, stride=stride, bias=True), read)
    where = Place(channels, place.stride, place.dilation, unstrided=place.unstrided)
    added = [base]
    for copy in range(COPIES if operation is not None else 0):
        inner = scope.inside(f"cell0/node2/path{copy}", cell=0, node=2, path=copy)
        assert operation is not None
        added.append(CANDIDATES[operation](inner, read, where))
    total = scope.add("sum", Sum(), *added)
    after = scope.add(
        "after", Conv(channels, channels, bias=True), scope.add("relu", Relu(), total)
    )
    graph.set_output(OUTPUT, after)
    _bind(graph, 0)
    return graph


def _bind(graph: Graph, seed: int) -> None:
    """Random weights in float32; what they are takes no time."""
    randomise(graph, seed)
    graph.weights = {
        name: value.astype(np.float32) if value.dtype.kind == "f" else value
        for name, value in graph.weights.items()
    }


def random_genotype(space: SearchSpace, draw: np.random.Generator) -> Genotype:
    """Every node adds 1 to `MOST_PATHS` different paths, each set as likely as any of its size."""
    cells = {}
    for kind in CELL_KINDS:
        nodes = []
        for number in space.numbers():
            paths = space.paths(number)
            count = int(draw.integers(1, min(MOST_PATHS, len(paths)) + 1))
            chosen = sorted(draw.choice(len(paths), count, replace=False).tolist())
            nodes.append(Node(paths=tuple(paths[index] for index in chosen)))
        cells[kind] = Cell(nodes=tuple(nodes), output=tuple(space.numbers()))
    return Genotype(cells=cells)


def _scaled(entry: LatencyEntry, factor: float) -> LatencyEntry:
    low, high = entry.interval_ms
    return entry.model_copy(
        update={
            "median_ms": factor * entry.median_ms,
            "interval_ms": (factor * low, factor * high),
        }
    )
