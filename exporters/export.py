"""The road: genotype and weights → graph → files → check → measure → documents."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from compiler.embed import PREPROCESS
from compiler.graph import Graph
from compiler.lower import lower
from compiler.model_file import print_model
from compiler.weights import read_weights_file
from datac.documents.build_folder import (
    ENGINES,
    GENOTYPE,
    MODEL,
    REFERENCE,
    REPORT,
    RUNTIME,
    SOURCE,
    WEIGHTS,
)
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.precision import Precision
from datac.documents.profile import Profile, Shape
from datac.documents.report import Report
from datac.errors import BadInput
from datac.output_folder import check_replaceable, replaced_whole, write_beside
from exporters.auto import AUTO, Pair, engines_here
from exporters.build_folder import (
    engine_folders,
    read_build_genotype,
    read_manifest,
    require_intact,
    write_manifest,
)
from exporters.canonical import bound_graph, canonical_graph, canonical_onnx
from exporters.check import judge
from exporters.control import MAX_DROP
from exporters.default_plan import rewrites_for
from exporters.engines import Built, Source, build_engine, open_engine
from exporters.kept import kept_convolutions
from exporters.quantisation import Calibration
from exporters.reference import ODD_CASE, OF_SIZE, SEEDED, load_reference
from exporters.standalone import runtime_source
from exporters.subject import open_subject
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, missing_for
from exporters.task import LabelledInputs

SEEDED_CASES = 4
LARGEST_INPUT = 50_000_000
"""Values of the largest input of a profile: four images of 2048x2048."""
UNTRAINED = "not trained: drawn from seed {seed}, batch-norm statistics from one seeded batch"

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Request:
    """What to make of a network: every target in every precision, or all that runs here (`auto`).

    precisions: none for f32, or with `auto` for all that this machine has.

    dynamic: engines of open sizes. profile: of these, the sizes they are declared for.
    calibration: what int8 is calibrated on. rewrites: None leaves them to each target.
    max_drop: of the metric, below float32.
    finish: called with the folder once `report.json` stands in it, before the folder takes its
    place; the command line writes the page there.
    """

    targets: tuple[str, ...]
    out: Path
    precisions: tuple[Precision, ...] = ()
    data: LabelledInputs | None = None
    dynamic: bool = False
    profile: Profile | None = None
    threads: int | None = None
    device: str = "cpu"
    seed: int = 0
    bench_seconds: float = 10.0
    calibration: Calibration | None = None
    embed: tuple[str, ...] = ()
    rewrites: tuple[str, ...] | None = None
    max_drop: float = MAX_DROP
    command: str = ""
    progress: Progress | None = None
    finish: Callable[[Path], object] | None = None

    def say(self, what: str, share: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, share)

    def asked(self, network: Network) -> tuple[Pair, ...]:
        """(target, precision) of every engine that was asked for."""
        pairs: list[Pair] = []
        for name in self.targets:
            if name == AUTO:
                int8 = self.calibration is not None
                pairs += engines_here(self.options(network), self.precisions, int8=int8)
            else:
                pairs += [(name, precision) for precision in self.precisions or ("f32",)]
        return tuple(dict.fromkeys(pairs))

    def engines(self, network: Network, standing: Collection[str] = ()) -> tuple[Pair, ...]:
        """Those asked for, and before each target's the control of its engine in int8.

        standing: engines that stay, by the names of their folders.
        """
        wanted: list[Pair] = []
        asked = self.asked(network)
        for name in dict.fromkeys(name for name, _ in asked):
            control = resolve(name).control
            stands = f"{name}-{control}" in standing
            if (name, "int8") in asked and resolve(name).int8 is not None and not stands:
                wanted.append((name, control))
            wanted += [pair for pair in asked if pair[0] == name]
        return tuple(dict.fromkeys(wanted))

    def check(self, network: Network) -> None:
        """BadInput for a target that there is none of, and for what lacks data."""
        for name in self.targets:
            if name == AUTO:
                continue
            resolve(name)
            rewrites_for(name, self.options(network))
        self._check_profile((1, *network.input))
        if PREPROCESS in self.embed and network.preprocessing is None:
            raise BadInput(
                "--embed preprocess needs to know how an image is prepared, and this network does "
                "not say; give --data DATASET with it, or a genotype that datac train wrote"
            )
        if "int8" in self.precisions and self.calibration is None:
            raise BadInput(
                "--precision int8 is calibrated on real inputs; give --data DATASET with it"
            )

    def _check_profile(self, own: Shape) -> None:
        """It has to hold the network's own size, and its largest one has to be judged."""
        if self.profile is None:
            return
        if not self.profile.takes(own):
            raise BadInput(
                f"--profile {self.profile} does not hold the network's own input "
                f"{'x'.join(map(str, own))}; widen it, or compile for another --input"
            )
        if math.prod(self.profile.max) > LARGEST_INPUT:
            raise BadInput(
                f"--profile {self.profile}: its largest input has more than {LARGEST_INPUT:,} "
                "values, too many for the reference in float64; declare a smaller one"
            )

    def options(self, network: Network, precision: Precision = "f32") -> BuildOptions:
        """How engines of this network are specialised."""
        return BuildOptions(
            (1, *network.input),
            precision=precision,
            dynamic_height_width=self.dynamic or self.profile is not None,
            profile=self.profile,
            device="cuda" if self.device == "cuda" else "cpu",
            threads=self.threads,
            embed=self.embed,
            rewrites=self.rewrites,
            progress=self.progress,
        )


def compile_genotype(
    genotype: Genotype, network: Network, weights: Path | None, request: Request
) -> Report:
    """Make a build of a genotype. Without weights they are drawn from the seed.

    Raises BadInput for what is wrong with the input, before anything is written.
    """
    check_replaceable(request.out, "build")
    request.check(network)
    complete = genotype.model_copy(update={"network": network})
    graph, source = network_graph(genotype, network, weights, request)
    if request.calibration is not None:
        kept_convolutions(graph, network, request.calibration.kept)  # a word that names nothing
    with replaced_whole(request.out, "build") as folder:
        _write_build(folder, graph, complete, network, request)
        return _finish(folder, complete, network, source, request, keep=())


def compile_build(build: Path, request: Request) -> Report:
    """Add targets to a build, from its canonical ONNX alone. Other engines stay as they are.

    So does the engine of a target that this machine cannot build.
    """
    check_replaceable(request.out, "build")
    manifest = read_manifest(build)
    request.check(manifest.network)
    require_intact(build, manifest, (MODEL, SOURCE, GENOTYPE, WEIGHTS, REFERENCE))
    genotype, network = read_build_genotype(build, manifest)
    wanted = {
        f"{name}-{precision}"
        for name, precision in request.asked(manifest.network)
        if missing_for(resolve(name), request.options(network, precision)) is None
    }
    stay = [at for at in engine_folders(build, manifest) if at.name not in wanted]
    for engine in stay:
        open_engine(build, engine, manifest, request.options(network))
    with replaced_whole(request.out, "build") as folder:
        for name in (MODEL, SOURCE, GENOTYPE, WEIGHTS, REFERENCE):
            shutil.copyfile(build / name, folder / name)
        for engine in stay:
            shutil.copytree(engine, folder / ENGINES / engine.name)
        keep = tuple(folder / ENGINES / engine.name for engine in stay)
        return _finish(folder, genotype, network, manifest.weights, request, keep)


def network_graph(
    genotype: Genotype, network: Network, weights: Path | None, request: Request
) -> tuple[Graph, str]:
    """The network with its weights, and where they came from, in a few words."""
    if weights is not None:
        tensors = read_weights_file(weights)
        return bound_graph(genotype, network, tensors, str(weights)), str(weights)
    from exporters.initialise import initialise

    graph = lower(genotype, network)
    request.say("weights drawn from the seed", 0.0)
    initialise(graph, network.input, request.seed)
    return graph, UNTRAINED.format(seed=request.seed)


def _write_build(
    folder: Path, graph: Graph, genotype: Genotype, network: Network, request: Request
) -> None:
    """Everything of a build but engines, manifest and report."""
    from exporters.float64 import make_reference

    canonical = canonical_graph(graph)
    write_beside(folder / GENOTYPE, genotype.to_json())
    write_beside(folder / WEIGHTS, save(dict(graph.weights)))
    write_beside(folder / SOURCE, print_model(graph, genotype, network))
    write_model(canonical_onnx(canonical, genotype, network), folder / MODEL)
    request.say("reference in float64", 0.1)
    cases = choose_inputs(network, request.data, request.seed)
    make_reference(graph, canonical, cases).save(folder / REFERENCE)


def _finish(
    folder: Path,
    genotype: Genotype,
    network: Network,
    weights: str,
    request: Request,
    keep: tuple[Path, ...],
) -> Report:
    """Build the engines, judge all, and write manifest and report."""
    write_beside(folder / RUNTIME, runtime_source())
    if request.profile is not None:
        request.say("reference in float64 at the sizes of the profile", 0.2)
        add_sizes(folder, genotype, network, request.profile, request.seed)
    source = source_of(folder, genotype, network, request.calibration)
    engines: list[Built] = []
    for name, precision in request.engines(network, {place.name for place in keep}):
        request.say(f"build {name} {precision}", 0.3)
        engines.append(build_engine(name, source, request.options(network, precision)))
    write_manifest(folder, genotype, network, weights)
    manifest = read_manifest(folder)
    asked = {engine.folder for engine in engines}
    rest = [place for place in keep if place not in asked]
    options = request.options(network)
    engines += [open_engine(folder, place, manifest, options) for place in rest]
    report = judge(
        open_subject(folder, manifest),
        engines,
        request.data,
        command=request.command,
        bench_seconds=request.bench_seconds,
        max_drop=request.max_drop,
        threads=request.threads,
        progress=request.progress,
    ).model_copy(update={"name": request.out.name})
    write_beside(folder / REPORT, report.to_json())
    if request.finish is not None:
        request.finish(folder)
    return report


def add_sizes(
    folder: Path, genotype: Genotype, network: Network, profile: Profile, seed: int
) -> None:
    """Give the reference an input of every size of the profile that it has none of."""
    from exporters.float64 import extended

    reference = load_reference(folder / REFERENCE)
    draw = np.random.default_rng(seed)
    cases = [
        (f"{OF_SIZE}{'x'.join(map(str, shape))}", draw.standard_normal(shape).astype(np.float32))
        for shape in profile.shapes
        if not reference.of_shape(shape)
    ]
    if not cases:
        return
    graph = bound_graph(genotype, network, read_weights_file(folder / WEIGHTS), WEIGHTS)
    extended(reference, graph, canonical_graph(graph), cases).save(folder / REFERENCE)


def source_of(
    folder: Path, genotype: Genotype, network: Network, calibration: Calibration | None
) -> Source:
    """What engines are made from, of a build whose files are its own."""
    graph = bound_graph(genotype, network, read_weights_file(folder / WEIGHTS), WEIGHTS)
    inputs = tuple(case.input for case in load_reference(folder / REFERENCE).cases)
    return Source(folder, genotype, network, graph, canonical_graph(graph), inputs, calibration)


def choose_inputs(
    network: Network, data: LabelledInputs | None, seed: int
) -> list[tuple[str, NDArray[np.float32]]]:
    """Inputs of the reference: real samples where there are any, seeded noise otherwise.

    One more is of another, odd size and of two samples, for what is open in the canonical ONNX.
    """
    draw = np.random.default_rng(seed)
    cases: list[tuple[str, NDArray[np.float32]]] = []
    if data is not None:
        chosen = np.linspace(0, len(data.samples) - 1, min(SEEDED_CASES, len(data.samples)))
        for index in dict.fromkeys(int(i) for i in chosen):
            sample = data.samples[index]
            cases.append((sample.name.replace("/", "-"), data.input(sample)))
    else:
        for index in range(SEEDED_CASES):
            value = draw.standard_normal((1, *network.input)).astype(np.float32)
            cases.append((f"{SEEDED}{seed}-{index}", value))
    channels, height, width = network.input
    odd = (2, channels, _odd(height), _odd(width))
    return [*cases, (ODD_CASE, draw.standard_normal(odd).astype(np.float32))]


def _odd(size: int) -> int:
    """An odd size near three quarters: it meets every rounding of strides, and costs less."""
    return max(1, size * 3 // 4) | 1
