"""The road: genotype and weights → graph → files → check → measure → documents."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

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
    SIDE_CAR,
    SOURCE,
    WEIGHTS,
    Manifest,
    SideCar,
)
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.profile import Profile
from datac.documents.read import read_json
from datac.documents.report import Report
from datac.errors import BadInput
from datac.output_folder import check_replaceable, replaced_whole, write_beside
from exporters.build_folder import (
    REBUILD,
    engine_folders,
    read_build_genotype,
    read_manifest,
    require_intact,
    write_manifest,
)
from exporters.canonical import bound_graph, canonical_graph, canonical_onnx
from exporters.check import judge
from exporters.engines import Built, Source, build_engine, open_engine
from exporters.kept import kept_convolutions
from exporters.measured_before import measured_before
from exporters.predicted import predicted_ms
from exporters.quantisation import Calibration
from exporters.reference import ODD_CASE, OF_SIZE, SEEDED, load_reference
from exporters.refit import EarlierBuild, earlier_build
from exporters.request import Progress, Request
from exporters.standalone import runtime_source
from exporters.subject import open_subject
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, missing_for
from exporters.task import LabelledInputs

SEEDED_CASES = 4
UNTRAINED = "not trained: drawn from seed {seed}, batch-norm statistics from one seeded batch"


def compile_genotype(
    genotype: Genotype, network: Network, weights: Path | None, request: Request
) -> Report:
    """Make a build of a genotype. Without weights they are drawn from the seed.

    Raises BadInput for what is wrong with the input, before anything is written.
    """
    check_replaceable(request.out, "build")
    request.check(network)
    request.check_genotype(genotype, network)
    earlier = earlier_build(request, genotype, network)
    complete = genotype.model_copy(update={"network": network})
    graph, source = network_graph(genotype, network, weights, request.seed, request.say)
    if request.calibration is not None:
        kept_convolutions(graph, network, request.calibration.kept)  # a word that names nothing
    with replaced_whole(request.out, "build") as folder:
        _write_build(folder, graph, complete, network, request)
        return _finish(folder, complete, network, source, request, earlier)


def compile_build(build: Path, request: Request) -> Report:
    """Add targets to a build, from its canonical ONNX alone. Other engines stay as they are.

    So does the engine of a target that this machine cannot build.
    """
    check_replaceable(request.out, "build")
    manifest = read_manifest(build)
    request.check(manifest.network)
    require_intact(build, manifest, (MODEL, SOURCE, GENOTYPE, WEIGHTS, REFERENCE))
    genotype, network = read_build_genotype(build, manifest)
    request.check_genotype(genotype, network)
    earlier = earlier_build(request, genotype, network)
    wanted = {
        f"{name}-{precision}"
        for name, precision in request.asked(manifest.network)
        if missing_for(resolve(name), request.options(network, precision)) is None
    }
    # Whoever removed an engine's folder does not want it.
    there = [at for at in engine_folders(build, manifest) if at.is_dir()]
    stay = [at for at in there if at.name not in wanted]
    _require_sound(build, stay, manifest, request.options(network))
    with replaced_whole(request.out, "build") as folder:
        for name in (MODEL, SOURCE, GENOTYPE, WEIGHTS, REFERENCE):
            shutil.copyfile(build / name, folder / name)
        for engine in stay:
            shutil.copytree(engine, folder / ENGINES / engine.name)
        keep = tuple(folder / ENGINES / engine.name for engine in stay)
        return _finish(
            folder, genotype, network, manifest.weights, request, earlier, keep, build / REPORT
        )


def _require_sound(
    build: Path, stay: Sequence[Path], manifest: Manifest, options: BuildOptions
) -> None:
    """BadInput for engines that are not the build's, with all folders that are in the way.

    The command that makes one again would not do: another damaged one would stop it.
    """
    wrong = {}
    for engine in stay:
        try:
            open_engine(build, engine, manifest, options)
        except BadInput as error:
            wrong[engine] = str(error).partition(f"; {REBUILD}")[0]
    if wrong:
        folders = " ".join(shlex.quote(str(engine)) for engine in wrong)
        raise BadInput(
            f"{next(iter(wrong.values()))}; it would stay in the build, so remove what is damaged "
            f"(rm -r {folders}) and compile that again too"
        )


def network_graph(
    genotype: Genotype,
    network: Network,
    weights: Path | None,
    seed: int,
    say: Progress = lambda _what, _share: None,
) -> tuple[Graph, str]:
    """The network with its weights, and where they came from, in a few words.

    Without a file they are drawn from the seed, for which torch is needed.
    """
    if weights is not None:
        tensors = read_weights_file(weights)
        return bound_graph(genotype, network, tensors, str(weights)), str(weights)
    from exporters.initialise import initialise

    graph = lower(genotype, network)
    say("weights drawn from the seed", 0.0)
    initialise(graph, network.input, seed)
    return graph, UNTRAINED.format(seed=seed)


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
    earlier: EarlierBuild | None,
    keep: tuple[Path, ...] = (),
    before: Path | None = None,
) -> Report:
    """Build the engines, judge all, and write manifest and report.

    keep: engines that stand already, of which the report `before` may tell.
    """
    write_beside(folder / RUNTIME, runtime_source())
    if request.profile is not None:
        request.say("reference in float64 at the sizes of the profile", 0.2)
        add_sizes(folder, genotype, network, request.profile, request.seed)
    source = source_of(folder, genotype, network, request.calibration)
    engines = _build_engines(source, request, earlier, keep)
    write_manifest(folder, genotype, network, weights)
    manifest = read_manifest(folder)
    asked = {engine.folder for engine in engines}
    rest = [place for place in keep if place not in asked]
    options = request.options(network)
    engines += [open_engine(folder, place, manifest, options) for place in rest]
    known = None if before is None else measured_before(before, engines)
    report = judge(
        open_subject(folder, manifest),
        engines,
        request.data or known,
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


def _build_engines(
    source: Source, request: Request, earlier: EarlierBuild | None, keep: Sequence[Path]
) -> list[Built]:
    """All that were asked for, each by its own plan."""
    network, engines = source.network, list[Built]()
    threads = {place.name: read_json(place / SIDE_CAR, SideCar).threads for place in keep}
    for name, precision in request.engines(network, threads):
        request.say(f"build {name} {precision}", 0.3)
        options = request.tuned(name, source, request.options(network, precision))
        if precision == "int8" and options.threads is None:
            # It is not tuned, but held against its control, which may have been.
            found = threads.get(f"{name}-{resolve(name).control}")
            options = replace(options, threads=found, planned_threads=found)
        threads[f"{name}-{precision}"] = options.planned_threads
        built = build_engine(name, source, options, None if earlier is None else earlier.refit)
        if request.table is not None:
            predicted = predicted_ms(request.table, source.genotype, network, name, precision)
            built = built.with_result(predicted_ms=predicted)
        engines.append(built)
    return engines


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
