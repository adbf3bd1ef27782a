"""An engine of an earlier build given new weights, where the runtime can, instead of a new engine.

The genotype is the key: the same genotype in the same network, made by the same plan, is the same
model but for the values of its initialisers, whose names the compiler keeps. That it is, is checked
on both models and not taken from the hash alone: a rewrite, or a range scan, may depend on values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from compiler.embed import PREPROCESS
from compiler.weights import read_weights_file
from datac.documents.build_folder import ENGINES, GENOTYPE, MODEL, WEIGHTS, Manifest, SideCar
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput
from exporters.build_folder import (
    REBUILD,
    read_build_genotype,
    read_manifest,
    read_side_car,
    require_intact,
)
from exporters.canonical import bound_graph, canonical_graph
from exporters.engines import Source
from exporters.onnx_file import read_onnx
from exporters.precision import Plan
from exporters.request import Request
from exporters.targets import resolve
from exporters.targets.target import BuildOptions, Engine, MayRefit, Target, TargetFailed

WITHOUT = "compile without --refit"


@dataclass(frozen=True)
class EarlierBuild:
    """What engines are refitted from. source: the earlier network with its weights."""

    source: Source
    manifest: Manifest

    def refit(
        self,
        target: Target,
        plan: Plan,
        model: Path,
        options: BuildOptions,
        place: Path,
    ) -> Engine:
        """The engine for `model` in the folder `place`, from the earlier one of that name.

        TargetFailed where its model differs in more than weights. Targets that cannot refit build.
        """
        if not isinstance(target, MayRefit):
            return target.build(model, options, place)
        folder = self.source.folder / ENGINES / place.name
        side_car = _side_car(self.source.folder, folder, self.manifest)
        difference = _other_plan(_plan_of(side_car), plan)
        if difference is None:
            with self.source.model(target, plan) as earlier:
                difference = other_than_weights(read_onnx(earlier), read_onnx(model))
        if difference is not None:
            raise TargetFailed(f"{folder} cannot be refitted: {difference}; {WITHOUT}")
        return target.refit(folder / side_car.engine, side_car.versions, model, options, place)


def earlier_build(request: Request, genotype: Genotype, network: Network) -> EarlierBuild | None:
    """The build that `--refit` names; BadInput where an engine asked for cannot come from it."""
    if request.refit is None:
        return None
    folder = request.refit
    manifest = read_manifest(folder)
    require_intact(folder, manifest, (MODEL, GENOTYPE, WEIGHTS))
    theirs, around = read_build_genotype(folder, manifest)
    if theirs.hash != genotype.hash:
        raise BadInput(
            f"{folder} is of another genotype ({theirs.hash[:12]}, not {genotype.hash[:12]}); "
            f"{WITHOUT}"
        )
    _require_same_network(folder, around, network, embedded=PREPROCESS in request.embed)
    for name, precision in request.asked(network):
        if isinstance(resolve(name), MayRefit):
            place = folder / ENGINES / f"{name}-{precision}"
            _require_refittable(folder, place, manifest, request.options(network, precision))
    graph = bound_graph(theirs, around, read_weights_file(folder / WEIGHTS), WEIGHTS)
    return EarlierBuild(Source(folder, theirs, around, graph, canonical_graph(graph), ()), manifest)


def _require_same_network(folder: Path, one: Network, other: Network, *, embedded: bool) -> None:
    """Names of classes change no engine, and preprocessing one that it is in."""
    difference = one.differences(other)
    if embedded and one.preprocessing != other.preprocessing:
        difference = difference or "its images are prepared otherwise"
    if difference:
        raise BadInput(f"{folder} is of another network ({difference}); {WITHOUT}")


def _side_car(folder: Path, engine: Path, manifest: Manifest) -> SideCar:
    """Of the earlier engine; what rebuilds it would not make it refittable."""
    try:
        return read_side_car(folder, engine, manifest)
    except BadInput as error:
        raise BadInput(f"{str(error).partition(f'; {REBUILD}')[0]}; {WITHOUT}") from error


def _plan_of(side_car: SideCar) -> Plan:
    return Plan(
        side_car.precision,
        side_car.float32_nodes,
        side_car.quantisation,
        side_car.embedded,
        side_car.rewrites,
        side_car.opset,
    )


def _other_plan(earlier: Plan, plan: Plan) -> str | None:
    """In words, how the plan that the earlier engine was made by differs."""
    for title, ours, theirs in (
        ("rewritten by", earlier.rewrites, plan.rewrites),
        ("with the parts", earlier.embed, plan.embed),
        ("in opset", earlier.opset, plan.opset),
    ):
        if ours != theirs:
            return f"it was made {title} {_words(ours)}, and now {_words(theirs)} is asked for"
    alone = sorted({*earlier.float32} ^ {*plan.float32})
    if alone:
        return f"the node {alone[0]} stays float32 with one of the two sets of weights alone"
    return None if earlier == plan else "it was made by another plan"


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _require_refittable(
    folder: Path, place: Path, manifest: Manifest, options: BuildOptions
) -> None:
    if options.precision == "int8":
        raise BadInput("--refit is not for int8, whose scales are of the old weights; leave it out")
    if not place.is_dir():
        raise BadInput(f"{folder} has no engine {place.name} to refit; {WITHOUT}")
    side_car = _side_car(folder, place, manifest)
    if not side_car.options.get("refittable"):
        raise BadInput(f"{place} was not compiled with --refittable; {WITHOUT}")
    if _sizes(side_car) != _asked_sizes(options):
        raise BadInput(f"{place} takes other sizes than are asked for; {WITHOUT}, or for its own")


def _sizes(side_car: SideCar) -> object:
    return side_car.profile if side_car.options.get("dynamic") else side_car.input_shape


def _asked_sizes(options: BuildOptions) -> object:
    return options.span if options.dynamic_height_width else options.input_shape


def other_than_weights(one: onnx.ModelProto, other: onnx.ModelProto) -> str | None:
    """The first difference of two models besides the values of their initialisers, in words."""
    ours, theirs = _skeleton(one), _skeleton(other)
    if ours == theirs:
        return None
    for kind in ("node", "initializer", "input", "output"):
        for a, b in zip(getattr(ours.graph, kind), getattr(theirs.graph, kind), strict=False):
            if a != b:
                return f"the {kind} {a.name} is another in the new model"
    return "the new model has another structure"


def _skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without metadata, and without the values of floating-point initialisers."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    for tensor in bare.graph.initializer:
        if tensor.data_type in FLOATING:
            for field in ("raw_data", "float_data", "int32_data", "double_data"):
                tensor.ClearField(field)
    return bare


FLOATING = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}
