"""An engine of an earlier build given new weights, where the runtime can, instead of a new engine.

The genotype is the key: the same genotype in the same network, made by the same plan, is the same
model but for the values of its initialisers, whose names the compiler keeps. That it is, is checked
on both models and not taken from the hash alone: a rewrite, or a range scan, may depend on values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from compiler.weights import read_weights_file
from datac.documents.build_folder import ENGINES, GENOTYPE, MODEL, WEIGHTS, Manifest, SideCar
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput
from exporters.build_folder import (
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
        with self.source.model(target, plan) as earlier:
            difference = other_than_weights(read_onnx(earlier), read_onnx(model))
        if difference is not None:
            raise TargetFailed(
                f"{self.source.folder} cannot be refitted: {difference}; compile without --refit"
            )
        folder = self.source.folder / ENGINES / place.name
        side_car = read_side_car(self.source.folder, folder, self.manifest)
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
            "compile without --refit"
        )
    if around != network:
        raise BadInput(f"{folder} is of another network around its cells; compile without --refit")
    for name, precision in request.asked(network):
        if isinstance(resolve(name), MayRefit):
            place = folder / ENGINES / f"{name}-{precision}"
            _require_refittable(folder, place, manifest, request.options(network, precision))
    graph = bound_graph(theirs, around, read_weights_file(folder / WEIGHTS), WEIGHTS)
    return EarlierBuild(Source(folder, theirs, around, graph, canonical_graph(graph), ()), manifest)


def _require_refittable(
    folder: Path, place: Path, manifest: Manifest, options: BuildOptions
) -> None:
    if options.precision == "int8":
        raise BadInput("--refit is not for int8, whose scales are of the old weights; leave it out")
    if not place.is_dir():
        raise BadInput(f"{folder} has no engine {place.name} to refit; compile without --refit")
    side_car = read_side_car(folder, place, manifest)
    if not side_car.options.get("refittable"):
        raise BadInput(f"{place} was not compiled with --refittable; compile without --refit")
    if _sizes(side_car) != _asked_sizes(options):
        raise BadInput(
            f"{place} takes other sizes than are asked for; compile without --refit, or for its own"
        )


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
