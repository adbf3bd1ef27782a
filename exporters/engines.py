"""Engines of a build: made, described by a side-car, and loaded once their digests agree."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.passes import REWRITES
from compiler.proof import TOLERANCE, prove_each
from datac.documents.build_folder import (
    ENGINES,
    MODEL,
    PLAN,
    SIDE_CAR,
    Manifest,
)
from datac.documents.engine_plan import EnginePlan
from datac.documents.genotype import Genotype
from datac.documents.network import Network, Preprocessing
from datac.documents.precision import Precision
from datac.documents.profile import Profile, only
from datac.documents.read import read_json
from datac.documents.report import RewriteResult, TargetResult
from datac.errors import BadInput, PlatformMissing
from datac.output_folder import write_beside
from exporters.build_folder import engine_folders, read_side_car, sha256
from exporters.canonical import canonical_onnx
from exporters.default_plan import rewrites_for
from exporters.embedded import wrapped
from exporters.kept import kept_convolutions
from exporters.precision import Plan, has_own_model, own_model, plan_for, rewritten
from exporters.quantisation import Calibration, quantise
from exporters.side_car import write_side_car
from exporters.targets import resolve
from exporters.targets.cores import available_cores
from exporters.targets.specialise import write_model
from exporters.targets.target import (
    BuildOptions,
    Engine,
    Runner,
    Target,
    TargetFailed,
    missing_for,
)

OTHER_MODEL = f"it was built from another {MODEL} than the one in this build; compile it again"


@dataclass(frozen=True)
class Built:
    """One target of a build: what the report says so far, and how to load it if it can run."""

    result: TargetResult
    folder: Path
    engine: Engine | None = None
    options: BuildOptions | None = None
    preprocessing: Preprocessing | None = None

    @property
    def name(self) -> str:
        """Target and precision, as its folder is called."""
        return f"{self.result.target}-{self.result.precision}"

    @property
    def plan(self) -> Plan:
        """What its own model was made by."""
        assert self.options is not None
        return Plan(
            self.options.precision,
            self.result.float32_nodes,
            self.result.quantisation,
            self.result.embedded,
            tuple(rewrite.name for rewrite in self.result.rewrites),
            self.result.opset,
        )

    @property
    def runs(self) -> bool:
        """Whether it can be loaded here."""
        return self.result.status == "run"

    @property
    def sizes(self) -> Profile | None:
        """The input shapes that it takes; None takes any."""
        assert self.engine is not None
        assert self.options is not None
        if self.engine.options.get("dynamic"):
            return self.engine.profile
        return only(self.options.input_shape)

    def load(self) -> Runner:
        """The runner; use as a context manager."""
        return self.load_from(self.folder)

    def load_from(self, folder: Path) -> Runner:
        """Likewise of files elsewhere, as if they were its own."""
        assert self.engine is not None
        assert self.options is not None
        runner = resolve(self.result.target).load(folder, self.engine, self.options)
        return wrapped(runner, self.result.embedded, self.preprocessing)

    def with_result(self, **changes: object) -> Built:
        """The same engine, the report knowing more."""
        return replace(self, result=self.result.model_copy(update=changes))


@dataclass(frozen=True)
class Source:
    """What every engine of a build is made from.

    unfolded: the network with its weights; graph: canonical. inputs: of the reference.
    """

    folder: Path
    genotype: Genotype
    network: Network
    unfolded: Graph
    graph: Graph
    inputs: tuple[NDArray[np.float32], ...]
    calibration: Calibration | None = None
    _plans: dict[tuple[object, ...], Plan] = field(default_factory=dict, repr=False, compare=False)
    _proved: dict[tuple[str, ...], tuple[RewriteResult, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def plan(self, target: Target, options: BuildOptions) -> Plan:
        """What an engine of that precision is made by: ranges scanned, or calibrated; once."""
        rewrites = rewrites_for(target.name, options)
        key = (target.name, options.precision, options.embed, options.opset, rewrites)
        if key not in self._plans:
            self._plans[key] = self._planned(target, options, rewrites)
        return self._plans[key]

    def _planned(self, target: Target, options: BuildOptions, rewrites: tuple[str, ...]) -> Plan:
        graph = rewritten(self.graph, Plan(options.precision, rewrites=rewrites))
        found = replace(
            self._precision(graph, target, options), rewrites=rewrites, opset=options.opset
        )
        return replace(found, embed=options.embed) if target.embeds else found

    def _precision(self, graph: Graph, target: Target, options: BuildOptions) -> Plan:
        if options.precision not in target.typed:
            return Plan(options.precision)
        if options.precision != "int8":
            return plan_for(graph, options.precision, self.inputs)
        assert target.int8 is not None
        assert self.calibration is not None
        model = canonical_onnx(graph, self.genotype, self.network)
        kept = kept_convolutions(graph, self.network, self.calibration.kept)
        calibration = replace(self.calibration, kept=kept)
        found = quantise(graph, model, target.int8, calibration, options.progress)
        return Plan("int8", quantisation=found)

    def prove(self, plan: Plan) -> tuple[RewriteResult, ...]:
        """What the plan's rewrites did, each proved; TargetFailed for one that is not exact."""
        if plan.rewrites and plan.rewrites not in self._proved:
            self._proved[plan.rewrites] = self._prove(plan)
        return self._proved.get(plan.rewrites, ())

    def _prove(self, plan: Plan) -> tuple[RewriteResult, ...]:
        names = [REWRITES[name] for name in plan.rewrites]
        proved = prove_each(self.unfolded, self.graph, names)
        for step in proved:
            if not step.proof.holds:
                raise TargetFailed(
                    f"the rewrite {step.rewrite} is not exact on this network: off by "
                    f"{step.proof.max_relative:.2g} in float64, where {TOLERANCE:g} is allowed; "
                    "leave it out (--rewrite) and report it as a bug of datac"
                )
        return tuple(
            RewriteResult(
                name=step.rewrite,
                places=len(step.places),
                max_relative=step.proof.max_relative,
            )
            for step in proved
        )

    @contextmanager
    def model(self, target: Target, plan: Plan) -> Iterator[Path]:
        """The ONNX that the target starts from: the canonical one, or one of the plan's own."""
        if not has_own_model(plan, target.typed):
            yield self.folder / MODEL
            return
        with tempfile.TemporaryDirectory(prefix="datac-engine-") as folder:
            path = Path(folder) / MODEL
            typed = plan.precision in target.typed
            model = own_model(self.graph, plan, self.genotype, self.network, typed=typed)
            write_model(model, path)
            yield path

    def load(self, target: Target, options: BuildOptions, stack: ExitStack) -> Runner:
        """An engine to measure and not to keep: built by its plan, gone with `stack`."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datac-engine-")))
        plan = self.plan(target, options)
        with self.model(target, plan) as model:
            engine = target.build(model, options, folder)
        runner = target.load(folder, engine, options)
        return stack.enter_context(wrapped(runner, plan.embed, self.network.preprocessing))


Make = Callable[[Target, Plan, Path, BuildOptions, Path], Engine]
"""(target, plan, model, options, folder) → the engine that it left in the folder."""


def _build(target: Target, plan: Plan, model: Path, options: BuildOptions, folder: Path) -> Engine:
    del plan
    return target.build(model, options, folder)


def build_engine(
    name: str, source: Source, options: BuildOptions, make: Make | None = None
) -> Built:
    """Build one target in one precision. make: by another way than the target's own `build`.

    What is missing or breaks is a status, not an exception: the other targets go on.
    """
    folder = source.folder
    target = resolve(name)
    place = folder / ENGINES / f"{name}-{options.precision}"
    result = TargetResult(target=name, precision=options.precision, status="missing")
    missing = missing_for(target, options)
    if missing is not None:
        return Built(result.model_copy(update={"reason": str(missing)}), place)
    place.mkdir(parents=True)
    begin = time.perf_counter()
    try:
        plan = source.plan(target, options)
        rewrites = source.prove(plan)
        with source.model(target, plan) as model:
            engine = (make or _build)(target, plan, model, options, place)
            engine = replace(engine, profile=engine.profile or options.profile)
    except TargetFailed as error:
        shutil.rmtree(place)
        failed = {"status": "failed", "verdict": "fail", "reason": str(error)}
        return Built(result.model_copy(update=failed), place)
    except PlatformMissing as error:
        shutil.rmtree(place)  # for instance ONNX Runtime, which calibrates
        return Built(result.model_copy(update={"reason": str(error)}), place)
    seconds = time.perf_counter() - begin
    if options.tuning is not None:
        write_beside(place / PLAN, options.tuning.to_json())
    write_side_car(source, place, plan, options, engine, name)
    loading = _options_of(engine, options, options.precision)
    built = Built(result, place, engine, loading, source.network.preprocessing)
    built = built.with_result(
        float32_nodes=plan.float32,
        quantisation=plan.quantisation,
        embedded=plan.embed,
        rewrites=rewrites,
        opset=plan.opset,
        tuning=options.tuning,
    )
    return built.with_result(
        build_seconds=seconds, **_described(target, place, engine, options.precision)
    )


def open_engines(
    folder: Path, manifest: Manifest, options: BuildOptions, *, trust: bool = False
) -> list[Built]:
    """Every engine of a build; see `open_engine`."""
    places = engine_folders(folder, manifest)
    return [open_engine(folder, place, manifest, options, trust=trust) for place in places]


def open_engine(
    folder: Path, place: Path, manifest: Manifest, options: BuildOptions, *, trust: bool = False
) -> Built:
    """An engine of an earlier compile; BadInput where its files are not those of the manifest.

    One that was built from another model is not loaded, and has failed. trust: whatever its files
    are, they are loaded.
    """
    side_car = read_side_car(folder, place, manifest, trust=trust)
    if "preprocess" in side_car.embedded and side_car.network.preprocessing is None:
        raise BadInput(
            f"{place / SIDE_CAR} speaks of preprocessing that the network does not state; "
            "compile again"
        )
    engine = Engine(
        side_car.engine, side_car.versions, side_car.device, side_car.options, side_car.profile
    )
    result = TargetResult(
        target=side_car.target,
        precision=side_car.precision,
        float32_nodes=side_car.float32_nodes,
        quantisation=side_car.quantisation,
        embedded=side_car.embedded,
        rewrites=tuple(RewriteResult(name=name) for name in side_car.rewrites),
        opset=side_car.opset,
        tuning=read_json(place / PLAN, EnginePlan) if (place / PLAN).is_file() else None,
        status="built",
    )
    options = replace(options, threads=options.threads or _at_most_here(side_car.threads))
    loading = _options_of(engine, options, side_car.precision)
    built = Built(result, place, engine, loading, side_car.network.preprocessing)
    described = _described(resolve(side_car.target), place, engine, side_car.precision)
    model = manifest.files.get(MODEL)
    if model is None or side_car.model_sha256 != model.sha256:
        described |= {"status": "failed", "verdict": "fail", "reason": OTHER_MODEL}
    return built.with_result(**described)


def _at_most_here(threads: int | None) -> int | None:
    """More threads than cores hang a runtime without a word."""
    return None if threads is None else min(threads, available_cores())


def _options_of(engine: Engine, options: BuildOptions, precision: Precision) -> BuildOptions:
    """How to load it: as what it was built, whatever is asked for today."""
    return replace(
        options,
        precision=precision,
        device="cuda" if engine.device == "cuda" else "cpu",
        dynamic_height_width=bool(engine.options.get("dynamic")),
        profile=engine.profile,
    )


def _described(
    target: Target, place: Path, engine: Engine, precision: Precision
) -> dict[str, object]:
    missing = target.missing_to_run() or target.missing_precision(precision)
    return {
        "status": "run" if missing is None else "built",
        "reason": None if missing is None else str(missing),
        "device": engine.device,
        "version": ", ".join(f"{key} {value}" for key, value in engine.versions.items()),
        "digest": sha256(place / engine.file),
        "size_bytes": (place / engine.file).stat().st_size,
    }
