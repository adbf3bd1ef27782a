"""What `compile`, `check` and `bench` do with their arguments."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datac.cli.options import CalibrationOptions, NetworkOptions, network_from
from datac.cli.progress import progress_line
from datac.cli.terminal import output
from datac.datasets import open_dataset
from datac.documents.build_folder import GENOTYPE, MANIFEST, MODEL, PAGE, WEIGHTS
from datac.documents.child import finished_child
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.read import read_genotype
from datac.documents.report import Report
from datac.documents.sentences import counted
from datac.errors import BadInput
from datac.exit_codes import ExitCode, worst_exit_code
from datac.published import NAMES
from datac.report.page import write_page
from datac.report.summary import summarise
from exporters.auto import AUTO
from exporters.control import MAX_DROP
from exporters.export import compile_build, compile_genotype, network_graph
from exporters.quantisation import Calibration
from exporters.request import Request
from exporters.task import LabelledInputs, labelled_inputs


@dataclass(frozen=True)
class Inputs:
    """What a compile starts from, as given."""

    source: str
    weights: Path | None
    data: str | None
    split: str | None
    samples: int | None
    network_options: NetworkOptions = field(default_factory=NetworkOptions)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)

    def labelled(self, network: Network) -> LabelledInputs | None:
        """The data that engines are measured on, if any was named."""
        if self.data is None:
            for option, value in (("--split", self.split), ("--samples", self.samples)):
                if value is not None:
                    raise BadInput(f"{option} says which data to measure on; give --data with it")
            return None
        return labelled_inputs(open_dataset(self.data), network, self.split or "val", self.samples)

    def calibrating(self, network: Network, *, optional: bool = False) -> Calibration | None:
        """What int8 is calibrated on: `train`, or `val` where `train` is what is measured.

        optional: None where the data has no such split.
        """
        if self.data is None:
            return None
        dataset, how = open_dataset(self.data), self.calibration
        split = "val" if self.split == "train" else "train"
        if optional and split not in dataset.splits:
            return None
        inputs = labelled_inputs(dataset, network, split, how.calibration_samples)
        images = tuple(inputs.input(sample) for sample in inputs.samples)
        return Calibration(images, how.calibration, how.keep)


def run_compile(
    inputs: Inputs, *, out: Path | None, max_drop: float | None, **settings: Any
) -> ExitCode:
    """Compile, print what came out, and answer with the exit code."""
    build = Path(inputs.source)
    # A published name wins over a folder of that name, which `./NAME` still reaches.
    is_build = inputs.source not in NAMES and (build / MANIFEST).is_file()
    with progress_line() as show:
        request = Request(
            out=out or (build if is_build else Path("build")),
            command=command_line(),
            progress=show,
            finish=write_page,
            max_drop=MAX_DROP if max_drop is None else max_drop,
            **settings,
        )
        report = (
            _from_build(build, inputs, request) if is_build else _from_genotype(inputs, request)
        )
    console = output()
    console.print(summarise(report))
    console.print(f"report: {request.out / PAGE}", soft_wrap=True)
    return exit_code(report)


def run_emit(inputs: Inputs, out: Path | None, seed: int) -> ExitCode:
    """Write the ONNX file alone."""
    from exporters.emit import emit

    if (Path(inputs.source) / MANIFEST).is_file():
        raise BadInput(f"{inputs.source} is a build and holds its {MODEL} already")
    genotype, weights, network = _read_source(inputs)
    out = out or Path(MODEL)
    if out.is_dir():
        raise BadInput(f"{out} is a folder; name the file to write: --out {out / MODEL}")
    if out.exists() and out.suffix != ".onnx":
        raise BadInput(
            f"{out} is there already, and by its name no ONNX, so it is not replaced; name another "
            "file by --out"
        )
    graph, source = network_graph(genotype, network, weights, seed)
    found = emit(graph, genotype.model_copy(update={"network": network}), network, out)
    output().print(
        f"{out}: {counted(found.paths, 'path')} in {counted(found.nodes, 'node')}, "
        f"{found.size_bytes / 1e6:.1f} MB, weights {source}",
        soft_wrap=True,
        markup=False,
    )
    return ExitCode.PASS


def _from_build(build: Path, inputs: Inputs, request: Request) -> Report:
    from exporters.build_folder import read_manifest

    if inputs.weights is not None or inputs.network_options != NetworkOptions():
        raise BadInput(
            f"{build} is a build and has its weights and network; give --weights and network "
            "options with a genotype"
        )
    network = read_manifest(build).network
    return compile_build(build, _with_data(request, inputs, network))


def _from_genotype(inputs: Inputs, request: Request) -> Report:
    genotype, weights, network = _read_source(inputs)
    return compile_genotype(genotype, network, weights, _with_data(request, inputs, network))


def _read_source(inputs: Inputs) -> tuple[Genotype, Path | None, Network]:
    """Genotype, file of weights if any, and the network to make of them."""
    source = Path(inputs.source)
    if inputs.source not in NAMES and source.is_dir():
        near = source / GENOTYPE
        hint = f"; did you mean {near}?" if near.is_file() else ""
        raise BadInput(f"{inputs.source} is a folder without a {MANIFEST}, so it is no build{hint}")
    genotype, weights = read_genotype(inputs.source), inputs.weights
    if weights is not None:
        genotype, weights = with_weights(genotype, weights)
    dataset = None if inputs.data is None else open_dataset(inputs.data)
    return genotype, weights, network_from(inputs.network_options, genotype, dataset)


def with_weights(genotype: Genotype, weights: Path) -> tuple[Genotype, Path]:
    """The file of weights in the CHILD or FILE given, and the genotype with a child's network."""
    return _child(weights, genotype) if weights.is_dir() else (genotype, weights)


def _with_data(request: Request, inputs: Inputs, network: Network) -> Request:
    all_there_are = AUTO in request.targets and not request.precisions
    wanted = "int8" in request.precisions or all_there_are
    calibration = inputs.calibrating(network, optional=all_there_are) if wanted else None
    return replace(request, data=inputs.labelled(network), calibration=calibration)


def _child(folder: Path, genotype: Genotype) -> tuple[Genotype, Path]:
    """The network that a child was trained with goes before the one it was searched with."""
    network = finished_child(folder, genotype).network
    return genotype.model_copy(update={"network": network}), folder / WEIGHTS


def exit_code(report: Report) -> ExitCode:
    """Gate failed, platform missing, or pass; the worse one where both apply."""
    codes = [ExitCode.GATE_FAILED if report.verdict == "fail" else ExitCode.PASS]
    missing = any(target.status == "missing" for target in report.targets)
    if missing or report.verdict == "inconclusive":
        codes.append(ExitCode.PLATFORM_MISSING)
    return worst_exit_code(codes)


def command_line() -> str:
    """As the user would type it again."""
    return shlex.join(["datac", *sys.argv[1:]])
