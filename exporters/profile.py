"""Every path named and priced: an engine's own profile, laid over the searched paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from compiler.graph import Graph
from compiler.lower import INPUT
from datac.documents.layer_profile import KernelTime, LayerProfile
from datac.errors import BadInput, PlatformMissing
from exporters.build_folder import read_manifest
from exporters.engines import Built, open_engines
from exporters.environment import environment
from exporters.kept import kinds_of
from exporters.measure import measure
from exporters.subject import open_subject
from exporters.targets import resolve
from exporters.targets.kernels import Kernel, MayProfile
from exporters.targets.target import BuildOptions

Progress = Callable[[str, float], None]


def profile(
    build: Path,
    *,
    engine: str | None = None,
    calls: int = 50,
    seconds: float = 5.0,
    threads: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> LayerProfile:
    """Profile one engine on the first input of the reference.

    engine: as its folder is called; None: the first that runs here and says what its kernels cost.
    A kernel that several parts of the network went into is theirs together.
    """
    manifest = read_manifest(build)
    subject = open_subject(build, manifest)
    options = BuildOptions(subject.input_shape, threads=threads)
    built = _chosen(open_engines(build, manifest, options), engine)
    subject.require_known_plan(built)
    inputs = {INPUT: subject.reference.first(subject.input_shape).input}
    with built.load() as runner:
        latency = measure({built.name: runner}, inputs, budget_seconds=seconds, progress=progress)[
            built.name
        ]
        threads = runner.threads
    target = resolve(built.result.target)
    assert isinstance(target, MayProfile)
    assert built.engine is not None
    assert built.options is not None
    kernels = target.profile(built.folder, built.engine, built.options, inputs, calls)
    places = origins_of(subject.deployed(built.plan))
    return LayerProfile(
        target=built.result.target,
        precision=built.result.precision,
        engine_sha256=built.result.digest or "",
        genotype_hash=subject.genotype.hash,
        cell_kinds=tuple(kinds_of(subject.network).values()),
        calls=calls,
        threads=threads,
        latency_ms=latency,
        kernels=tuple(_timed(kernel, places) for kernel in kernels),
        environment=environment(),
        command=command,
    )


def _chosen(engines: list[Built], name: str | None) -> Built:
    """BadInput for a name that there is none of; PlatformMissing where none can be profiled."""
    can = [
        built
        for built in engines
        if built.runs
        and isinstance(resolve(built.result.target), MayProfile)
        and not built.result.embedded
        and built.result.device != "cuda"
    ]
    if name is not None:
        named = [built for built in engines if built.name == name]
        if not named:
            have = ", ".join(built.name for built in engines) or "none"
            raise BadInput(f"--engine {name}: this build has {have}")
        can = [built for built in can if built.name == name]
        if not can:
            why = named[0].result.reason or _why_not(named[0])
            raise PlatformMissing(f"{name} cannot be profiled here: {why}")
    if not can:
        raise PlatformMissing(
            "no engine of this build runs here and says what its kernels cost; add one: "
            "datac compile BUILD --target onnx"
        )
    return can[0]


def _why_not(built: Built) -> str:
    if built.result.embedded:
        return f"{' and '.join(built.result.embedded)} are in it; profile one without --embed"
    return "its runtime gives no profile by kernel there"


def origins_of(graph: Graph) -> dict[str, tuple[str, ...]]:
    """ONNX node → the parts of the network that it comes from; several after a merge."""
    found = {}
    for node in graph.nodes():
        origins = tuple(str(origin) for origin in node.origin if str(origin))
        found[node.label] = origins or (node.name,)
    return found


def _timed(kernel: Kernel, places: Mapping[str, tuple[str, ...]]) -> KernelTime:
    low, median, high = np.percentile(kernel.times_ms, [25, 50, 75])
    origins: dict[str, None] = {}
    for name in sorted(kernel.covers):
        # An operation of several ONNX nodes names all but the last with one segment more.
        known = places.get(name) or places.get(name.rpartition("/")[0])
        origins |= dict.fromkeys(known or (name,))
    return KernelTime(
        name=kernel.name,
        kind=kernel.kind,
        origins=tuple(origins),
        median_ms=float(median),
        low_ms=float(low),
        high_ms=float(high),
    )
