"""A build as the gate sees it: its documents, and what they make when it is made anew."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from compiler.embed import PREPROCESS, embedded
from compiler.graph import Graph
from compiler.lower import OUTPUT
from compiler.model_file import print_model
from compiler.passes import REWRITES
from compiler.weights import read_weights_file
from datac import __version__
from datac.documents.build_folder import (
    GENOTYPE,
    MODEL,
    REFERENCE,
    RUNTIME,
    SOURCE,
    WEIGHTS,
    Manifest,
)
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.profile import only
from datac.documents.report import (
    StructureResult,
)
from datac.errors import BadInput
from exporters.build_folder import (
    read_build_genotype,
    require_intact,
)
from exporters.canonical import bound_graph, canonical_graph, canonical_onnx
from exporters.embedded import as_images
from exporters.engines import Built
from exporters.float64 import predict_errors, run_cases
from exporters.onnx_file import read_onnx
from exporters.onnx_writer import TUNED_OPSETS
from exporters.precision import (
    Plan,
    deployed,
    has_own_model,
    own_model,
    plan_for,
    rewritten,
)
from exporters.quantisation import Distance, distance, quantised_graph, scheme_of
from exporters.reference import Reference, load_reference
from exporters.rounding import ARITHMETIC
from exporters.standalone import runtime_source
from exporters.structure import judge_structure
from exporters.targets import resolve


@dataclass(frozen=True)
class Subject:
    """A build as the gate sees it: its documents, and what they make when it is made anew.

    graph: with batch norms folded; unfolded: without. expected: the canonical ONNX.
    source: `model.py`.
    """

    folder: Path
    genotype: Genotype
    network: Network
    weights: str
    reference: Reference
    parameters: int
    multiply_adds: int
    structure: StructureResult
    graph: Graph
    unfolded: Graph
    expected: onnx.ModelProto
    source: str
    _references: dict[Plan, Reference] = field(default_factory=dict, repr=False, compare=False)
    _deployed: dict[Plan, Graph] = field(default_factory=dict, repr=False, compare=False)
    _distances: dict[Plan, Distance | None] = field(default_factory=dict, repr=False, compare=False)

    def deployed(self, plan: Plan) -> Graph:
        """The graph as an engine of that plan computes it."""
        return embedded(self._network_of(plan), self.network.preprocessing, plan.embed)

    def _network_of(self, plan: Plan) -> Graph:
        """Likewise, but for what is embedded; made once, since every judge asks for it."""
        if plan not in self._deployed:
            self._deployed[plan] = deployed(self.graph, plan)
        return self._deployed[plan]

    def reference_for(self, plan: Plan) -> Reference:
        """The reference with the errors that an engine of that plan may make."""
        if plan.precision == "f32" and not (plan.embed or plan.rewrites):
            return self.reference
        if plan not in self._references:
            graph, cases = self._network_of(plan), self.reference.cases
            if plan.one_size:
                cases = self.reference.of_shape(self.input_shape)
            if PREPROCESS in plan.embed and self.network.preprocessing is not None:
                cases = as_images(cases, self.network.preprocessing)
                cases = run_cases(self.unfolded, cases)
            if plan.precision == "int8":
                # Against the integers' own meaning. How far that is from float32 is no rounding
                # of an engine's, and is judged for the plan: see `distance`.
                cases = run_cases(graph, cases)
            errors = self.reference.predicted_error
            if cases:  # of one size, the reference of an old build may have none
                errors = predict_errors(graph, cases, ARITHMETIC[plan.precision])
            self._references[plan] = replace(self.reference, cases=cases, predicted_error=errors)
        return self._references[plan]

    def other_plan(self, built: Built) -> str | None:
        """One sentence where an engine's plan is none that makes it, as far as its side-car says.

        One that keeps other nodes in float32 than the ranges ask for is among them: ONNX Runtime on
        a CPU would hide what overflows for the lack of one.
        """
        strange = self.strange_plan(built)
        if strange is not None:
            return strange
        if built.plan.precision not in resolve(built.result.target).typed:
            return None
        if built.plan.precision == "int8":
            return self._other_quantisation(built)
        inputs = [case.input for case in self.reference.cases]
        graph = rewritten(self.graph, built.plan)
        wanted = plan_for(graph, built.plan.precision, inputs)
        differ = {*wanted.float32} ^ {*built.plan.float32}
        if not differ:
            return None
        first = next((node.name for node in graph.nodes() if node.name in differ), min(differ))
        asked = "is to stay float32" if first in wanted.float32 else "is kept in float32"
        return f"{first} {asked}, which its side-car does not agree with; compile it again"

    def strange_plan(self, built: Built) -> str | None:
        """One sentence where a side-car names what this datac could not make an engine by."""
        unknown = [name for name in built.plan.rewrites if name not in REWRITES]
        if unknown:
            return (
                f"its side-car names a rewrite {unknown[0]}, which this datac does not have; "
                "compile it again"
            )
        if built.plan.opset not in (None, *TUNED_OPSETS):
            return f"its side-car names opset {built.plan.opset}, which is none that is chosen"
        if built.plan.one_size and built.sizes != only(self.input_shape):
            return "it was rewritten for one size and takes several; compile it again"
        return None

    def require_known_plan(self, built: Built) -> None:
        """BadInput where there is such a sentence."""
        strange = self.strange_plan(built)
        if strange is not None:
            raise BadInput(f"{built.name}: {strange}")

    def _other_quantisation(self, built: Built) -> str | None:
        """One sentence where a plan in int8 is not one for this network and target."""
        plan, scheme = built.plan.quantisation, resolve(built.result.target).int8
        if plan is None or scheme_of(plan) != scheme:
            return "its side-car does not say how it was quantised; compile it again"
        try:
            quantised_graph(rewritten(self.graph, built.plan), plan)
        except ValueError as error:
            return f"its side-car quantises another network ({error}); compile it again"
        return None

    def distance(self, plan: Plan) -> Distance | None:
        """How far int8 takes the network from float64, on real inputs; None where there are none.

        Ranges are calibrated on real inputs, and drawn ones reach elsewhere.
        """
        if plan not in self._distances:
            own = {case.name: case for case in self.reference.cases}
            pairs = [(own[case.name], case) for case in self.reference_for(plan).cases]
            real = [(case, exact.outputs[OUTPUT]) for case, exact in pairs if not case.drawn]
            found = distance(self._network_of(plan), *zip(*real, strict=True)) if real else None
            self._distances[plan] = found
        return self._distances[plan]

    def decision_error(self, plan: Plan) -> float:
        """The relative RMS error of the logits, against torch's, that decisions may turn by."""
        found = self.distance(plan) if plan.precision == "int8" else None
        return found.unclipped if found else self.reference_for(plan).predicted_error[OUTPUT]

    def model_for(self, built: Built) -> onnx.ModelProto:
        """What the engine's own ONNX must be, batch, height and width left open."""
        typed = resolve(built.result.target).typed
        if not has_own_model(built.plan, typed):
            return self.expected
        return own_model(
            self.graph,
            built.plan,
            self.genotype,
            self.network,
            typed=built.plan.precision in typed,
        )

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """What engines are specialised to."""
        return (1, *self.network.input)


def open_subject(folder: Path, manifest: Manifest) -> Subject:
    """Read a build and judge its structure; BadInput where what it was made from is not intact.

    `model.onnx` itself may differ from the manifest: then the judge says where.
    """
    require_intact(folder, manifest, (GENOTYPE, WEIGHTS, REFERENCE))
    if not (folder / SOURCE).is_file():
        raise BadInput(f"{folder / SOURCE} is missing; compile again")
    genotype, network = read_build_genotype(folder, manifest)
    weights = read_weights_file(folder / WEIGHTS)
    graph = bound_graph(genotype, network, weights, WEIGHTS)
    canonical = canonical_graph(graph)
    expected = canonical_onnx(canonical, genotype, network)
    structure = judge_structure(read_onnx(folder / MODEL), expected, genotype, network)
    source = print_model(graph, genotype, network)
    for name, content in ((SOURCE, source.encode()), (RUNTIME, runtime_source())):
        path = folder / name
        if name == RUNTIME and (not path.exists() or manifest.datac_version != __version__):
            continue  # that of another datac may be another file; nothing here runs it
        if path.read_bytes() != content:
            what = " for this genotype" if name == SOURCE else ""
            sentence = f"{name}: not what datac writes{what}"
            structure = structure.model_copy(
                update={"verdict": "fail", "differences": (*structure.differences, sentence)}
            )
    cost = graph.cost()
    return Subject(
        folder,
        genotype,
        network,
        manifest.weights,
        load_reference(folder / REFERENCE),
        cost.parameters,
        cost.multiply_adds,
        structure,
        canonical,
        graph,
        expected,
        source,
    )
