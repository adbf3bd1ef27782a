"""The gate on an ONNX that something else wrote: another exporter from `model.py`, a simplifier.

Its names and its nodes may be any, so its structure is recognised by what it computes: every value
inside it is exposed, and each path, sum and layer of the genotype is looked for among them. Where
all are found the model is the genotype's; where its answers are wrong, the first that is not found,
though what it reads is, is the place. Numbers are judged in any case. The arithmetic that is
predicted is that of the batch norms as they are: who folded them, if anyone did, has done so in
float32, and that errs as they do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.graph import Graph, Weights
from compiler.interpreter import Array, Interpreter
from compiler.lower import INPUT, OUTPUT
from compiler.places import boundaries, place_name, region
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.profile import only
from datac.documents.report import PlacesResult, Report, StructureResult, TargetResult
from datac.errors import BadInput
from exporters.build_folder import sha256
from exporters.canonical import bound_graph
from exporters.check_build import places_result, why_wrong
from exporters.environment import environment
from exporters.export import choose_inputs
from exporters.float64 import make_reference
from exporters.numbers import judge_numbers
from exporters.onnx_file import read_onnx
from exporters.places import Seen
from exporters.reference import Case, Reference
from exporters.rounding import ARITHMETIC, rms
from exporters.saved import overall
from exporters.targets import resolve
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions, Engine, Runner, TargetFailed, require
from exporters.task import LabelledInputs, TaskResult, evaluate_runners

TARGET = "onnx"

RECOGNISED = 1e-3
"""Relative RMS distance from a value in float64 up to which another one is taken for it.

Rounding in float32 stays a hundred times below. Where two values are that close (a sum, and the
same without a path that is nearly dead) the judge of places tells whether it is the right one.
"""


@dataclass(frozen=True)
class Claim:
    """What a model is said to be. source: where the weights came from."""

    genotype: Genotype
    network: Network
    weights: Weights
    source: str


def check_model(
    path: Path,
    claim: Claim,
    data: LabelledInputs | None = None,
    *,
    threads: int | None = None,
    command: str = "",
    progress: Callable[[str, float], None] | None = None,
) -> Report:
    """Structure by value, numbers, and with data the task.

    BadInput where the file is no ONNX with one input and the network's output.
    """
    genotype, network, source = claim.genotype, claim.network, claim.source
    target = resolve(TARGET)
    require(target.missing())
    graph = bound_graph(genotype, network, claim.weights, source)
    model = _with_our_names(read_onnx(path, beside=True), path, network)
    shape = _shape(model, network)
    fits = shape == (1, *network.input)
    cases = _cases(network, data if fits else None, shape)
    reference = make_reference(graph, graph, cases)
    result = TargetResult(
        target=TARGET,
        precision="f32",
        status="run",
        digest=sha256(path),
        size_bytes=path.stat().st_size,
    )
    task = TaskResult({})
    structure = StructureResult(
        verdict="inconclusive", paths_found=0, paths_expected=len(_paths(graph))
    )
    try:
        with _runner(model, network, threads) as runner:
            numbers = judge_numbers(runner, reference, only(shape))
            if data is not None and fits:
                task = evaluate_runners({TARGET: runner}, data, progress)
        places, structure = _look_inside(
            model, graph, reference, network, threads, numbers.verdict == "pass"
        )
        wrong = None if places is None else why_wrong(places)
        unfit = None
        if data is not None and not fits:
            unfit = f"it takes {'x'.join(map(str, shape))} alone, so no metric was measured"
        result = result.model_copy(
            update={
                "verdict": "fail" if wrong else numbers.verdict,
                "reason": "; ".join(filter(None, (numbers.reason, wrong, unfit))) or None,
                "defects": (numbers.reason,) if numbers.malformed else (),
                "error": numbers.worst,
                "outputs": numbers.errors,
                "places": places,
                "metric": task.metrics.get(TARGET),
            }
        )
    except TargetFailed as error:
        result = result.model_copy(
            update={"status": "failed", "verdict": "fail", "reason": str(error)}
        )
    cost = graph.cost()
    return Report(
        verdict=overall(structure.verdict, (result,)),
        name=path.name,
        genotype=genotype,
        genotype_hash=genotype.hash,
        weights=source,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        structure=structure,
        targets=(result,),
        environment=environment(),
        command=command,
    )


# ---- the file ------------------------------------------------------------------------------------


def _with_our_names(model: onnx.ModelProto, path: Path, network: Network) -> onnx.ModelProto:
    """Its one input and its one or first output under the names that a runner is asked for."""
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(inputs) != 1:
        raise BadInput(f"{path} has {len(inputs)} inputs; a network of datac has one, the image")
    shape = inputs[0].type.tensor_type.shape.dim
    channels = shape[1].dim_value if len(shape) == 4 else None
    if len(shape) != 4 or channels not in (0, network.input[0]):
        raise BadInput(
            f"{path} takes {inputs[0].name} of {len(shape)} dimensions with {channels} channels, "
            f"not (N, {network.input[0]}, H, W)"
        )
    names = [output.name for output in model.graph.output]
    if not names:
        raise BadInput(f"{path} has no output")
    output = OUTPUT if OUTPUT in names else names[0]
    _rename(model.graph, inputs[0].name, INPUT)
    _rename(model.graph, output, OUTPUT)
    return model


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Graphs within its nodes read its values, too."""
    if old == new:
        return

    def renamed(name: str) -> str:
        # What bore the new name makes room for it.
        return new if name == old else f"{new}/other" if name == new else name

    for node in graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, old, new)
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.name = renamed(value.name)


def _shape(model: onnx.ModelProto, network: Network) -> tuple[int, int, int, int]:
    """An input size that it takes: its own where it is fixed, the network's where it is open."""
    (x,) = [value for value in model.graph.input if value.name == INPUT]
    usual = (1, *network.input)
    batch, channels, height, width = (
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else size
        for d, size in zip(x.type.tensor_type.shape.dim, usual, strict=True)
    )
    return batch, channels, height, width


def _cases(
    network: Network, data: LabelledInputs | None, shape: tuple[int, int, int, int]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Inputs as for a build; where the file fixes another size or batch, drawn ones of that."""
    if shape == (1, *network.input):
        return choose_inputs(network, data, seed=0)[:-1]  # without the odd size
    draw = np.random.default_rng(0)
    return [(f"seed0-{i}", draw.standard_normal(shape).astype(np.float32)) for i in range(4)]


def _runner(model: onnx.ModelProto, network: Network, threads: int | None) -> Runner:
    """The file, loaded by ONNX Runtime as any engine is."""
    options = BuildOptions((1, *network.input), dynamic_height_width=True, threads=threads)
    with tempfile.TemporaryDirectory(prefix="datac-check-model-") as folder:
        write_model(model, Path(folder) / "model.onnx")
        return resolve(TARGET).load(Path(folder), Engine("model.onnx", {}, "cpu"), options)


# ---- what it computes inside -------------------------------------------------------------------


def _look_inside(
    model: onnx.ModelProto,
    graph: Graph,
    reference: Reference,
    network: Network,
    threads: int | None,
    right: bool,
) -> tuple[PlacesResult | None, StructureResult]:
    case = reference.cases[0]
    paths = _paths(graph)
    try:
        with _runner(_all_exposed(model), network, threads) as runner:
            answers = runner.run({INPUT: case.input})
    except TargetFailed as error:
        sentence = f"its inner values cannot be seen: {error}"
        return None, StructureResult(
            verdict="inconclusive",
            paths_found=0,
            paths_expected=len(paths),
            differences=(sentence,),
        )
    seen, lost = _recognised(graph, case, answers)
    places = places_result(graph, {INPUT: case.input, **seen}, ARITHMETIC["f32"])
    return places, _structure(graph, seen, lost, paths, right)


def _all_exposed(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inferred = onnx.shape_inference.infer_shapes(copy)
    kinds = {info.name: info.type.tensor_type.elem_type for info in inferred.graph.value_info}
    known = {output.name for output in copy.graph.output}
    for node in copy.graph.node:
        for name in node.output:
            if name not in known and kinds.get(name) == onnx.TensorProto.FLOAT:
                copy.graph.output.append(onnx.ValueInfoProto(name=name))
                known.add(name)
    return copy


def _recognised(
    graph: Graph, case: Case, answers: Mapping[str, NDArray[np.generic]]
) -> tuple[Seen, list[str]]:
    """Of each value that leaves a place the nearest one in the model; and which have none."""
    names = boundaries(graph)
    exact = Interpreter(graph).run({INPUT: case.input}, wanted=names)
    by_shape: dict[tuple[int, ...], list[NDArray[np.generic]]] = {}
    for array in answers.values():
        by_shape.setdefault(array.shape, []).append(array)
    seen: dict[str, NDArray[np.generic]] = {}
    lost = []
    for name in names:
        found = _nearest(exact[name], by_shape.get(exact[name].shape, []))
        if found is None:
            lost.append(name)
        else:
            seen[name] = found
    return seen, lost


def _nearest(wanted: Array, candidates: list[NDArray[np.generic]]) -> NDArray[np.generic] | None:
    best, distance = None, RECOGNISED * rms(wanted)
    for array in candidates:
        with np.errstate(all="ignore"):
            off = rms(array.astype(np.float64) - wanted)
        if off <= distance:
            best, distance = array, off
    return best


def _structure(
    graph: Graph, seen: Seen, lost: list[str], paths: set[str], right: bool
) -> StructureResult:
    """Right answers with a value or two that were fused away: nothing to complain of."""
    missing = [place_name(graph[name]) for name in lost]
    found = len(paths - {*missing})
    if not lost:
        return StructureResult(verdict="pass", paths_found=found, paths_expected=len(paths))
    first = next(
        (
            place_name(graph[name])
            for name in lost
            if all(_is_there(graph, read, seen) for read in _reads(graph, name))
        ),
        missing[0],
    )
    sentence = (
        f"{first}: nothing in the model computes this"
        f"{f', nor {len(lost) - 1} values more' if len(lost) > 1 else ''}"
    )
    return StructureResult(
        verdict="inconclusive" if right else "fail",
        paths_found=found,
        paths_expected=len(paths),
        differences=(sentence,),
    )


def _reads(graph: Graph, name: str) -> frozenset[str]:
    return region(graph, name, boundaries(graph)).reads


def _is_there(graph: Graph, name: str, seen: Seen) -> bool:
    return name in seen or name == INPUT or not graph.operands(name)


def _paths(graph: Graph) -> set[str]:
    """The places that are paths."""
    return {
        place_name(graph[name])
        for name in boundaries(graph)
        if graph[name].origin and graph[name].origin[0].path is not None
    }
