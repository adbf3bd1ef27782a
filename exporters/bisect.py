"""Which parts of a network int8 must leave in float32, so that the metric holds.

A network has hundreds of convolutions, but its cells repeat two patterns: a part is one path of
one kind of cell, a cell's preprocessing, the stem or the head. Simulation (no engine) tells how far
each part in int8 takes the logits; the parts that cost most accuracy for the fewest multiply-adds
are kept first. How many of them is found by building engines and measuring them on data: none,
then 1, 2, 4, ... until the metric holds, then between the last two. More parts in float32 are taken
to be no worse, which a metric on few samples need not bear out.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.graph import Graph, Node
from compiler.interpreter import Interpreter
from compiler.lower import INPUT, OUTPUT
from compiler.quantise import convolutions, quantised
from datac.documents.bisection import Bisection, Part, Trial
from datac.documents.quantisation import Quantisation
from datac.documents.sentences import counted
from datac.errors import BadInput
from exporters.build_folder import read_manifest
from exporters.environment import environment
from exporters.kept import kept_convolutions, kinds_of, places_of
from exporters.precision import Plan, own_model
from exporters.quantisation import Calibration, keeping, quantise, scheme_of
from exporters.rounding import rms
from exporters.subject import Subject, open_subject
from exporters.targets import resolve
from exporters.targets.specialise import model_bytes, write_model
from exporters.targets.target import BuildOptions, Runner, TargetFailed, require
from exporters.task import LabelledInputs, evaluate_runners

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Setting:
    """What is searched: an engine for `target` on `data`, calibrated on other samples of it."""

    target: str
    data: LabelledInputs
    calibration: Calibration
    max_drop: float
    threads: int | None = None
    progress: Progress | None = None

    def say(self, what: str, share: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, share)


def bisect(
    folder: Path,
    setting: Setting,
    known: Sequence[Trial] = (),
    save: Callable[[Bisection], object] = lambda _: None,
) -> Bisection:
    """Search. known: trials of earlier runs, which are not built again; `save` sees each new state.

    Raises BadInput for a target without int8, PlatformMissing where it cannot run here.
    """
    target = resolve(setting.target)
    if target.int8 is None:
        raise BadInput(f"{setting.target} has no int8 engines; choose onnx or openvino")
    require(target.missing_to_run())
    subject = open_subject(folder, read_manifest(folder))
    whole = quantise(
        subject.graph, subject.expected, target.int8, setting.calibration, setting.progress
    )
    return _Search(subject, setting, whole, known, save).run()


class _Search:
    def __init__(
        self,
        subject: Subject,
        setting: Setting,
        whole: Quantisation,
        known: Sequence[Trial],
        save: Callable[[Bisection], object],
    ) -> None:
        self._subject, self._setting, self._whole = subject, setting, whole
        self._known, self._save = {trial.key: trial for trial in known}, save
        self._parts: tuple[Part, ...] = ()
        self._trials: dict[int, Trial] = {}
        self._control = 0.0

    def run(self) -> Bisection:
        self._setting.say("float32, the control", 0.0)
        self._control = self._metric(Plan("f32"))
        image = self._setting.calibration.inputs[0]
        self._parts = tuple(rank(self._subject, self._whole, image, self._setting.say))
        fails, holds = -1, 0
        while not self._holds(holds):
            fails, holds = holds, min(max(1, 2 * holds), len(self._parts))
        while holds - fails > 1:
            middle = (fails + holds) // 2
            if self._holds(middle):
                holds = middle
            else:
                fails = middle
        return self._state(holds)

    def _holds(self, count: int) -> bool:
        """Whether the metric does, with so many parts in float32."""
        if count == len(self._parts):
            return True  # the control itself: nothing is left in int8
        if count not in self._trials:
            self._setting.say(f"an engine with {counted(count, 'part')} in float32", 0.0)
            self._trials[count] = self._try(count)
            self._save(self._state(None))
        return self._trials[count].drop <= self._setting.max_drop

    def _try(self, count: int) -> Trial:
        kept = tuple(part.name for part in self._parts[:count])
        subject = self._subject
        convs = kept_convolutions(subject.graph, subject.network, kept)
        plan = Plan("int8", quantisation=keeping(subject.graph, self._whole, convs))
        key = self._key(plan)
        if key in self._known:
            return self._known[key]
        try:
            metric = self._metric(plan)
        except TargetFailed as error:  # such as a model that OpenVINO ends its process on
            nothing = {"metric": math.nan, "drop": math.inf}
            return Trial(key=key, kept=kept, reason=str(error), **nothing)
        return Trial(key=key, kept=kept, metric=metric, drop=self._control - metric)

    def _key(self, plan: Plan) -> str:
        """Of what decides a trial's metric: model, data, control, and the packages here."""
        setting = self._setting
        packages = sorted(environment().packages.items())
        about = (setting.target, setting.data.dataset.digest, self._control, packages)
        names = [sample.name for sample in setting.data.samples]
        digest = hashlib.sha256(repr((about, names)).encode())
        digest.update(model_bytes(self._model(plan)))
        return digest.hexdigest()

    def _model(self, plan: Plan) -> onnx.ModelProto:
        subject = self._subject
        return own_model(subject.graph, plan, subject.genotype, subject.network)

    def _metric(self, plan: Plan) -> float:
        """Of an engine that is built for this alone."""
        target, setting = resolve(self._setting.target), self._setting
        options = BuildOptions(
            self._subject.input_shape, precision=plan.precision, threads=setting.threads
        )
        with tempfile.TemporaryDirectory(prefix="datac-bisect-") as name:
            model, place = Path(name) / "model.onnx", Path(name) / "engine"
            place.mkdir()
            write_model(self._model(plan), model)
            engine = target.build(model, options, place)
            with target.load(place, engine, options) as runner:
                return self._evaluated(runner)

    def _evaluated(self, runner: Runner) -> float:
        setting = self._setting
        return evaluate_runners({"": runner}, setting.data, setting.progress).metrics[""].value

    def _state(self, holds: int | None) -> Bisection:
        kept = None if holds is None else tuple(part.name for part in self._parts[:holds])
        return Bisection(
            target=self._setting.target,
            genotype_hash=self._subject.genotype.hash,
            control=self._control,
            max_drop=self._setting.max_drop,
            method=self._whole.method,
            parts=self._parts,
            trials=tuple(self._trials[count] for count in sorted(self._trials)),
            kept=kept,
        )


def rank(
    subject: Subject,
    whole: Quantisation,
    image: NDArray[np.float32],
    say: Callable[[str, float], None],
) -> list[Part]:
    """Every part, the one that one would keep first at the front. image: a real one (N, C, H, W).

    By the square of its error (errors of many parts add up in squares) for each multiply-add that
    keeping it takes out of int8.
    """
    graph = subject.graph
    members = parts_of(subject)
    cost = {name: _multiply_adds(graph, graph[name]) for name in convolutions(graph)}
    total = sum(cost.values())
    ranges = {entry.group: (entry.low, entry.high) for entry in whole.ranges}
    exact, found = Interpreter(graph).run({INPUT: image})[OUTPUT], []
    for done, (part, convs) in enumerate(members.items()):
        say("each part in int8, in simulation", done / len(members))
        alone = quantised(graph, convs, ranges, scheme_of(whole))
        answer = Interpreter(alone, np.float32).run({INPUT: image})[OUTPUT]
        error = rms(answer - exact) / (rms(exact) or 1.0)
        share = sum(cost[name] for name in convs) / total
        found.append(Part(name=part, error=error, share=share))
    return sorted(found, key=lambda part: -(part.error**2) / part.share)


def parts_of(subject: Subject) -> dict[str, list[str]]:
    """Part → its convolutions."""
    kinds = kinds_of(subject.network)
    parts: dict[str, list[str]] = {}
    for name in convolutions(subject.graph):
        place = places_of(subject.graph[name], kinds)[-1]
        parts.setdefault("/".join(place.split("/")[: _depth(place)]), []).append(name)
    return parts


def _depth(place: str) -> int:
    """`normal/node2/path0` and `normal/preprocess0`, but `head` of whatever lies in it."""
    words = place.split("/")
    return 1 if words[0] not in ("normal", "reduction") else 3 if words[1][:4] == "node" else 2


def _multiply_adds(graph: Graph, node: Node) -> int:
    return node.op.multiply_adds(*graph.operand_types(node))
