"""What each path is worth: the network without it, as an engine, beside the whole one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compiler.graph import Graph
from compiler.lower import INPUT, OUTPUT
from compiler.prune import PathName, inherited, path_at, removable, without
from compiler.weights import read_weights_file
from datac.documents.ablation import AblatedPath, Ablation
from datac.documents.build_folder import WEIGHTS
from datac.documents.report import Latency, Metric
from datac.errors import BadInput, PlatformMissing
from exporters.build_folder import read_manifest
from exporters.canonical import bound_graph, canonical_graph, canonical_onnx
from exporters.control import FEWEST_ROUNDS, interval, speedups
from exporters.engines import Built, Source, open_engines
from exporters.environment import environment
from exporters.measure import measure
from exporters.rounding import rms
from exporters.subject import Subject, open_subject
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, Runner
from exporters.task import LabelledInputs, evaluate_runners

WHOLE = "whole"

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Course:
    """How to ablate. engine: as its folder is called; None: the first that runs here.

    data: what the metric is measured on; without it the outputs' change alone is known.
    """

    engine: str | None = None
    data: LabelledInputs | None = None
    seconds: float = 60.0
    threads: int | None = None
    progress: Progress | None = None
    command: str = ""

    def say(self, what: str, share: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, share)


def ablate(build: Path, course: Course) -> Ablation:
    """Leave out one path after the other, each an engine made as the build's own was.

    A path that is alone in its node cannot be left out. Raises BadInput for an engine that there is
    none of, or in int8, whose ranges hold for the whole network alone.
    """
    manifest = read_manifest(build)
    subject = open_subject(build, manifest)
    options = BuildOptions(subject.input_shape, threads=course.threads)
    built = _chosen(open_engines(build, manifest, options), course.engine)
    subject.require_known_plan(built)
    places = removable(subject.genotype)
    if not places:
        raise BadInput(f"{build}: every node has one path, so none can be left out")
    with ExitStack() as stack:
        runners = {WHOLE: stack.enter_context(built.load())}
        costs = {}
        for index, place in enumerate(places):
            course.say(f"engines without a path, {place}", index / len(places))
            graph = _graph_without(build, subject, place)
            costs[place] = graph.cost()
            runners[str(place)] = _load(stack, graph, subject, built, place)
        case = subject.reference.first(subject.input_shape)
        latencies = measure(
            runners,
            {INPUT: case.input},
            budget_seconds=course.seconds,
            fewest_rounds=FEWEST_ROUNDS,
            progress=course.progress,
        )
        metrics: dict[str, Metric] = {}
        if course.data is not None:
            metrics = evaluate_runners(runners, course.data, course.progress).metrics
        rows = [
            _row(subject, runners, place, latencies, metrics)
            | {
                "parameters_saved": subject.parameters - costs[place].parameters,
                "multiply_adds_saved": subject.multiply_adds - costs[place].multiply_adds,
            }
            for place in places
        ]
    whole = metrics.get(WHOLE)
    return Ablation(
        target=built.result.target,
        precision=built.result.precision,
        genotype_hash=subject.genotype.hash,
        latency_ms=latencies[WHOLE],
        metric_name=whole.name if whole else None,
        metric=whole.value if whole else None,
        paths=_ranked(rows),
        environment=environment(),
        command=course.command,
    )


def _chosen(engines: list[Built], name: str | None) -> Built:
    have = ", ".join(built.name for built in engines) or "none"
    named = [built for built in engines if name in (None, built.name)]
    if not named:
        raise BadInput(f"--engine {name}: this build has {have}")
    plain = [b for b in named if b.result.precision != "int8" and not b.result.embedded]
    if not plain:
        raise BadInput(
            f"{name or 'this build'}: in int8, or with images or class numbers embedded, a path "
            "cannot be left out by itself; ablate an f32 engine without them"
        )
    running = [built for built in plain if built.runs and built.result.target != "torch"]
    if not running:
        why = plain[0].result.reason or "eager torch is no engine to time paths in"
        raise PlatformMissing(f"{plain[0].name} cannot be ablated here: {why}")
    return running[0]


def _graph_without(build: Path, subject: Subject, place: PathName) -> Graph:
    weights = read_weights_file(build / WEIGHTS)
    kept = inherited(subject.genotype, subject.network, [place], weights)
    return bound_graph(without(subject.genotype, [place]), subject.network, kept, WEIGHTS)


def _load(
    stack: ExitStack, graph: Graph, subject: Subject, built: Built, place: PathName
) -> Runner:
    """The engine of a smaller network, made by the plan of the whole one's."""
    assert built.options is not None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datac-ablate-")))
    target = resolve(built.result.target)
    genotype = without(subject.genotype, [place])
    canonical = canonical_graph(graph)
    inputs = tuple(case.input for case in subject.reference.cases)
    source = Source(folder, genotype, subject.network, graph, canonical, inputs)
    rewrites = tuple(rewrite.name for rewrite in built.result.rewrites)
    options = replace(built.options, rewrites=rewrites, opset=built.result.opset)
    write_model(canonical_onnx(canonical, genotype, subject.network), folder / "model.onnx")
    return source.load(target, options, stack)


def _row(
    subject: Subject,
    runners: dict[str, Runner],
    place: PathName,
    latencies: dict[str, Latency],
    metrics: dict[str, Metric],
) -> dict[str, object]:
    name = str(place)
    ratios = speedups(latencies[WHOLE], latencies[name])  # time of the smaller over the whole
    low, middle, high = interval([1 - ratio for ratio in ratios])
    path = path_at(subject.genotype, place)
    metric, whole = metrics.get(name), metrics.get(WHOLE)
    return {
        "place": name,
        "operation": path.operation,
        "input": path.input,
        "latency_ms": latencies[name],
        "saved": middle,
        "saved_low": low,
        "saved_high": high,
        "output_change": _change(subject, runners[WHOLE], runners[name]),
        "metric": metric.value if metric else None,
        "drop": whole.value - metric.value if metric and whole else None,
    }


def _change(subject: Subject, whole: Runner, smaller: Runner) -> float:
    """RMS difference of the logits over their RMS, on inputs of the network's own size."""
    pairs = [
        (whole.run(given)[OUTPUT], smaller.run(given)[OUTPUT])
        for case in subject.reference.of_shape(subject.input_shape)
        for given in [{INPUT: case.input}]
    ]
    before, after = (np.concatenate([x.ravel() for x in side]) for side in zip(*pairs, strict=True))
    size = rms(before)
    return rms(before.astype(np.float64) - after.astype(np.float64)) / size if size else 0.0


def _ranked(rows: list[dict[str, object]]) -> tuple[AblatedPath, ...]:
    """The most saved first, with what is on the Pareto front marked."""
    paths = [AblatedPath.model_validate({**row, "pareto": False}) for row in rows]
    marked = [
        path.model_copy(update={"pareto": not any(_beats(other, path) for other in paths)})
        for path in paths
    ]
    return tuple(sorted(marked, key=lambda path: -path.saved))


def _beats(one: AblatedPath, other: AblatedPath) -> bool:
    return one.price <= other.price and one.saved > other.saved
