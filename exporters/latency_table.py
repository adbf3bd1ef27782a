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
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.graph import Graph
from compiler.lower import INPUT, lower
from compiler.passes import CANONICAL, REWRITES
from compiler.path_places import PathPlace, path_places
from compiler.rewrite import apply
from datac.documents.genotype import Genotype
from datac.documents.latency_table import (
    LatencyEntry,
    LatencyRemainder,
    LatencyTable,
    Machine,
    Runtime,
)
from datac.documents.network import Network
from datac.documents.precision import Precision
from datac.documents.read import read_json
from datac.documents.report import Latency
from datac.documents.search_space import SearchSpace
from datac.documents.sentences import counted
from datac.documents.unfinished_table import UnfinishedTable
from datac.errors import BadInput, PlatformMissing
from datac.output_folder import write_beside
from exporters.control import FEWEST_ROUNDS, interval
from exporters.default_plan import rewrites_for
from exporters.environment import environment
from exporters.latency_fit import Residual, fit
from exporters.measure import measure
from exporters.onnx_writer import write_onnx
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, Runner, missing_for
from exporters.timed_networks import COPIES, bind_randomly, context_graph, random_genotype

TOGETHER = 12
"""Whole networks that are loaded at once; each holds its weights and its largest activations."""

ROUNDS = 15

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Course:
    """What to measure. fitted, held_out: how many random genotypes. seconds: for each group.

    unfinished: a file that is written after each group and gone on from; whoever keeps the table
    removes it.
    """

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
    unfinished: Path | None = None

    def say(self, what: str, share: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, share)


def make_table(course: Course) -> tuple[LatencyTable, Residual]:
    """Measure. PlatformMissing where the target cannot run here.

    A KeyboardInterrupt says how to go on, where something is kept to go on from.
    """
    measuring = _Measuring(course)
    try:
        return measuring.run()
    except KeyboardInterrupt as stop:
        if not measuring.kept:
            raise
        raise KeyboardInterrupt(
            f"{str(stop) or 'interrupted'}; {course.unfinished} holds what was measured so far, "
            "and the same command goes on"
        ) from stop


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
        self._genotypes = self._drawn()
        self._found = self._begun()
        if self.kept:
            entries = counted(len(self._found.entries), "entry", "entries")
            course.say(f"going on from {course.unfinished}, {entries}", 0.0)

    @property
    def kept(self) -> bool:
        """Whether a file holds some of what this course has measured."""
        measured = self._found.entries or self._found.networks
        return bool(measured) and self._course.unfinished is not None

    def run(self) -> tuple[LatencyTable, Residual]:
        places = path_places(self._course.network, self._course.space)[0]
        entries = self._entries(places)
        measured = self._networks(self._genotypes)
        fitted = self._course.fitted
        sums = [self._by_operation(genotype, places, entries) for genotype in self._genotypes]
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
        entries: dict[Any, LatencyEntry] = {entry.key: entry for entry in self._found.entries}
        for done, those in enumerate(contexts.values()):
            self._course.say("candidates", done / len(contexts))
            if any(place.key(self._course.target, dtype) not in entries for place in those):
                entries |= self._context(those)
                self._keep(entries=tuple(entries.values()))
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
        if self.kept and first.device != self._found.device:
            raise BadInput(
                f"{self._course.unfinished} was begun on {self._found.device}, and this is "
                f"{first.device}; remove it to begin anew"
            )
        self._found = self._found.model_copy(
            update={"threads": first.threads, "device": first.device}
        )
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

    def _drawn(self) -> list[Genotype]:
        draw = np.random.default_rng(self._course.seed)
        count = self._course.fitted + self._course.held_out
        return [random_genotype(self._course.space, draw) for _ in range(count)]

    def _networks(self, genotypes: Sequence[Genotype]) -> list[float]:
        """Milliseconds of each, as many in the same rounds as there is memory for.

        A group takes every k-th, so that those fitted and those held out share its rounds.
        """
        groups = -(-len(genotypes) // TOGETHER)
        found = {**self._found.networks}
        for group in range(groups):
            self._course.say("whole networks", group / groups)
            numbers = range(group, len(genotypes), groups)
            seconds = 6 * self._course.seconds / groups
            if not found.keys() >= {*numbers}:
                found |= self._group({number: genotypes[number] for number in numbers}, seconds)
                self._keep(networks={**found})
        return [found[number] for number in range(len(genotypes))]

    def _group(self, genotypes: Mapping[int, Genotype], seconds: float) -> dict[int, float]:
        """Number of a genotype → milliseconds, all in the same rounds."""
        with ExitStack() as stack:
            runners = {}
            for number, genotype in genotypes.items():
                graph = lower(genotype, self._course.network)
                bind_randomly(graph, number)
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

    # ---- what an interruption leaves -------------------------------------------------------------

    def _begun(self) -> UnfinishedTable:
        """What is there of the same course and has not expired, if anything."""
        digest, path = self._digest(), self._course.unfinished
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        if path is not None and path.exists():
            found = read_json(path, UnfinishedTable)
            if found.course == digest and now < found.begun + self._lifetime:
                return found
        return UnfinishedTable(course=digest, begun=now)

    @property
    def _lifetime(self) -> datetime.timedelta:
        return datetime.timedelta(days=self._course.days)

    def _keep(self, **measured: object) -> None:
        self._found = self._found.model_copy(update=measured)
        if self._course.unfinished is not None:
            write_beside(self._course.unfinished, self._found.to_json())

    def _digest(self) -> str:
        """Of everything that the times depend on."""
        course, here = self._course, environment()
        told = (course.target, course.precision, course.threads, course.seconds, course.seed)
        genotypes = [genotype.hash for genotype in self._genotypes]
        documents = (course.network.bare.model_dump_json(), course.space.model_dump_json())
        machine = (here.processor, here.cores, here.platform, here.packages)
        rewrites = rewrites_for(course.target, self._options)
        everything = json.dumps([told, course.fitted, genotypes, documents, machine, rewrites])
        return hashlib.sha256(everything.encode()).hexdigest()

    # ---- the document ----------------------------------------------------------------------------

    def _table(
        self,
        entries: Mapping[Any, LatencyEntry],
        factors: Mapping[str, float],
        remainder: float,
        residual: Residual,
    ) -> LatencyTable:
        here, begun = environment(), self._found.begun
        name, version = self._runtime(here.packages)
        return LatencyTable(
            machine=Machine(
                device=here.processor if self._found.device == "cpu" else self._found.device,
                cores=here.cores,
                threads=self._found.threads,
                platform=here.platform,
            ),
            runtimes={self._course.target: Runtime(name=name, version=version)},
            rewrites={self._course.target: rewrites_for(self._course.target, self._options)},
            measured=begun,
            expires=begun + self._lifetime,
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


def _scaled(entry: LatencyEntry, factor: float) -> LatencyEntry:
    low, high = entry.interval_ms
    return entry.model_copy(
        update={
            "median_ms": factor * entry.median_ms,
            "interval_ms": (factor * low, factor * high),
        }
    )
