"""Every target at hand on the published cells: built, loaded, gated, timed, in each precision.

Weights are drawn, so this tells whether a platform computes what it is given, how fast and in how
much memory; it tells nothing of accuracy. int8 is calibrated on the embedded data. On a machine
with an NVIDIA GPU this is what tries the paths that datac's own CI cannot.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.lower import INPUT
from datac.datasets import open_dataset
from datac.documents.build_folder import GENOTYPE, MODEL, SOURCE, WEIGHTS
from datac.documents.network import DEFAULTS, Network
from datac.documents.precision import PRECISIONS, Precision
from datac.documents.report import Verdict
from datac.documents.selftest import SelfTest, Tested, Throughput
from datac.errors import DatacError, PlatformMissing
from datac.published import load
from exporters.engines import Source, build_engine
from exporters.environment import environment
from exporters.export import compile_genotype, source_of
from exporters.gpu import Gpu, memory_in_use
from exporters.measure import measure
from exporters.nvidia_driver import cuda_version, why_no_gpu
from exporters.quantisation import Calibration
from exporters.request import Request
from exporters.targets import TARGETS, resolve
from exporters.task import labelled_inputs

SMALL: dict[str, dict[str, Any]] = {
    "cifar": {"channels": 16, "cells": 8, "classes": 5},
    "segmentation": {
        "channels": 16,
        "cells": 8,
        "classes": 6,
        "head_channels": 32,
        "input": (3, 64, 64),
    },
}
DATA = {"cifar": "shapes-classification", "segmentation": "shapes"}
CALIBRATION_SAMPLES = 64
BATCHES = (1, 8)
SECONDS = 2.0
"""Of latency, for all engines of a cell together, and for each batch size."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Course:
    """What to try; no targets or precisions: all.

    networks: of those in SMALL. gpu: on one, the targets that may use it too.
    """

    cells: tuple[str, ...]
    targets: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ()
    networks: tuple[str, ...] = tuple(SMALL)
    gpu: bool = False
    seconds: float = SECONDS
    progress: Progress | None = None

    def say(self, what: str, share: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, share)


def selftest(
    course: Course,
    known: SelfTest | None = None,
    save: Callable[[SelfTest], object] = lambda _: None,
) -> SelfTest:
    """Run the course. known: an earlier run on this machine, whose cells are not tried again.

    `save` sees each new state. Raises PlatformMissing for a GPU that does not answer.
    """
    for name in course.targets:
        resolve(name)
    for cell in course.cells:
        load(cell)
    if course.gpu and (why := why_no_gpu()) is not None:
        raise PlatformMissing(f"{why}; leave --gpu out, or run this on a machine with one")
    state = _begin(course, known)
    done = {(tested.cell, tested.network) for tested in state.tested}
    left = [
        (cell, net) for cell in course.cells for net in course.networks if (cell, net) not in done
    ]
    for index, (cell, net) in enumerate(left):
        course.say(f"cells, {cell} in {net} ({index + 1} of {len(left)})", index / len(left))
        state = state.model_copy(update={"tested": (*state.tested, *_try(cell, net, course))})
        save(state)
    return state


def _begin(course: Course, known: SelfTest | None) -> SelfTest:
    """An earlier run goes on if it asked the same of the same machine."""
    here, version = environment(), cuda_version()
    fresh = SelfTest(
        environment=here,
        gpu=_gpu(),
        cuda=None if version is None else f"{version[0]}.{version[1]}",
        targets=course.targets,
        precisions=course.precisions,
        device="cuda" if course.gpu else "cpu",
    )
    if known is None:
        return fresh
    before = (known.environment.processor, known.environment.packages, known.gpu)
    asked = (known.targets, known.precisions, known.device)
    if before != (here.processor, here.packages, fresh.gpu):
        return fresh
    if asked != (fresh.targets, fresh.precisions, fresh.device):
        return fresh
    return fresh.model_copy(update={"tested": known.tested})


def _gpu() -> str:
    why = why_no_gpu()
    if why is not None:
        return why
    gpu = Gpu()
    try:
        return f"{gpu.name}, compute capability {gpu.compute_capability}"
    finally:
        gpu.close()


def _try(cell: str, net: str, course: Course) -> list[Tested]:
    """All engines of one cell in one kind of network."""
    network = Network.model_validate({**dict(DEFAULTS[net]), **SMALL[net]})
    genotype = load(cell)
    samples = labelled_inputs(open_dataset(DATA[net]), network, "train", CALIBRATION_SAMPLES)
    images = tuple(samples.input(sample) for sample in samples.samples)
    with tempfile.TemporaryDirectory(prefix="datac-selftest-") as name:
        request = Request(
            course.targets or tuple(TARGETS),
            Path(name) / "build",
            precisions=course.precisions or PRECISIONS,
            data=labelled_inputs(open_dataset(DATA[net]), network, "val", 4),
            device="cuda" if course.gpu else "cpu",
            bench_seconds=course.seconds,
            calibration=Calibration(images, "min-max"),
            max_drop=1.0,  # of weights that nobody trained
        )
        report = compile_genotype(genotype, network, None, request)
        source = source_of(request.out, report.genotype, network, request.calibration)
        return [
            Tested(
                cell=cell,
                network=net,
                result=result,
                throughput=_throughput(source, result.target, result.precision, request, course)
                if result.status == "run"
                else (),
            )
            for result in report.targets
        ]


def _throughput(
    source: Source, target: str, precision: Precision, request: Request, course: Course
) -> tuple[Throughput, ...]:
    return tuple(_of_batch(source, target, precision, batch, request, course) for batch in BATCHES)


def _of_batch(
    source: Source,
    target: str,
    precision: Precision,
    batch: int,
    request: Request,
    course: Course,
) -> Throughput:
    """Of an engine that is built for this batch alone."""
    shape = (batch, *source.network.input)
    options = replace(request.options(source.network, precision), input_shape=shape, progress=None)
    with tempfile.TemporaryDirectory(prefix="datac-selftest-") as name, ExitStack() as stack:
        folder = Path(name)
        for file in (MODEL, SOURCE, WEIGHTS, GENOTYPE):
            (folder / file).write_bytes((source.folder / file).read_bytes())
        built = build_engine(target, replace(source, folder=folder), options)
        if not built.runs:
            return Throughput(batch=batch, reason=built.result.reason)
        gc.collect()
        before = memory_in_use(built.result.device or "cpu")
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        try:
            runner = stack.enter_context(built.load())
            runner.run({INPUT: x})
            memory = memory_in_use(built.result.device or "cpu") - before
            found = measure({"": runner}, {INPUT: x}, budget_seconds=course.seconds)[""]
        except DatacError as error:
            return Throughput(batch=batch, reason=str(error))
    return Throughput(
        batch=batch,
        milliseconds=found.median,
        per_second=batch / found.median * 1e3,
        memory_bytes=max(0, memory),
    )


def verdict(state: SelfTest) -> Verdict:
    """Fail where any engine is wrong or broke; inconclusive where none ran."""
    verdicts = {tested.result.verdict for tested in state.tested}
    if "fail" in verdicts:
        return "fail"
    return "pass" if "pass" in verdicts else "inconclusive"
