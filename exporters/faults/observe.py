"""One run of a network, healthy or damaged, and what each judge measures of it.

Measured, not judged: which measure is an alarm is said by `exporters.faults.judges`, so that its
constants can be set on some observations and tried on others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.interpreter import Array, Interpreter
from compiler.lower import INPUT, OUTPUT
from compiler.places import boundaries
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.faults.fault import Damaged
from exporters.faults.runtimes import HEALTHY, Values, Variation, deployed, fused_values
from exporters.onnx_writer import write_onnx
from exporters.places import PlaceError, judge_places, unseen
from exporters.rounding import ARITHMETIC, Noise, expected, rms
from exporters.structure import compare, judge_structure

NOISY_RUNS = 8
SMALLEST_KEPT, MOST_KEPT = 0.9, 4
"""Of the ratios of places the first of these and the largest are kept: what is smaller than the one
is no alarm by any constant, and what comes behind the others changes no opinion."""


@dataclass(frozen=True)
class Observation:
    """What was seen of one run.

    fault, place: None where it is healthy. change: how far the fault moves the outputs in
    float64, relative; 0 where it changes nothing. structure: the places that its sentences name.
    output: RMS error over the predicted one; None where the outputs are not finite. places, nodes,
    fused: ratios of the places seen through every boundary, the sums of the nodes, and what the
    fused engine shows. agreement: share of equal decisions. others: which of RULES raise an alarm.
    """

    subject: str
    variation: str
    precision: str
    fault: str | None = None
    place: str | None = None
    change: float = 0.0
    structure: tuple[str, ...] = ()
    output: float | None = None
    places: tuple[tuple[str, float], ...] = ()
    nodes: tuple[tuple[str, float], ...] = ()
    fused: tuple[tuple[str, float], ...] | None = None
    agreement: float = 1.0
    others: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For a line of JSON."""
        return asdict(self)


class Subject:
    """A network with weights, and what every run of it is held against. x: (N, C, H, W)."""

    def __init__(
        self, name: str, genotype: Genotype, network: Network, graph: Graph, x: NDArray[np.float32]
    ) -> None:
        self.name, self.genotype, self.network = name, genotype, network
        self.graph, self.x = graph, x
        self._deployed: dict[tuple[str, bool], Graph] = {}
        self._predicted: dict[tuple[str, bool], float] = {}

    @cached_property
    def values(self) -> Mapping[str, Array]:
        """Every node of the unfolded graph in float64."""
        names = [node.name for node in self.graph.nodes()]
        return Interpreter(self.graph).run({INPUT: self.x}, wanted=names)

    @property
    def exact(self) -> Array:
        """The output in float64."""
        return self.values[self.graph.outputs[OUTPUT]]

    def deployed(self, way: Variation) -> Graph:
        """The graph as a healthy engine holds it."""
        key = way.precision, way.folds
        if key not in self._deployed:
            self._deployed[key] = way.deployed(self.graph)
        return self._deployed[key]

    def predicted(self, way: Variation) -> float:
        """The expected RMS error of the output, in its own units."""
        key = way.precision, way.folds
        if key not in self._predicted:
            run, noise = Interpreter(self.deployed(way)), Noise(ARITHMETIC[way.precision])
            noisy = (run.run({INPUT: self.x}, after=noise)[OUTPUT] for _ in range(NOISY_RUNS))
            errors = [rms(y - self.exact) for y in noisy]
            self._predicted[key] = expected(errors) * noise.scale
        return self._predicted[key]

    # ---- the runs --------------------------------------------------------------------------

    def healthy(self, variation: str) -> Observation:
        """A healthy run."""
        return self._observe(variation, self.graph, None, None)

    def damaged(self, variation: str, fault: str, damaged: Damaged) -> Observation:
        """A run with a fault in it."""
        return self._observe(variation, damaged.graph, fault, damaged.place)

    def _observe(
        self, variation: str, graph: Graph, fault: str | None, place: str | None
    ) -> Observation:
        way = HEALTHY[variation]
        made = self.deployed(way)
        own = made if graph is self.graph else way.deployed(graph)
        output = way.run(graph, self.x, ())[own.outputs[OUTPUT]]
        seen = {INPUT: self.x, **way.run(graph, self.x, boundaries(made))}
        return Observation(
            subject=self.name,
            variation=variation,
            precision=way.precision,
            fault=fault,
            place=place,
            change=0.0 if fault is None else self._change(graph),
            structure=self._structure(graph, way.precision),
            output=self._ratio(output, way),
            places=self._places(made, seen, way.precision),
            nodes=self._places(made, _of_nodes(made, seen), way.precision, missing=False),
            fused=self._fused(graph, made, variation),
            agreement=float(np.mean(output.argmax(1) == self.exact.argmax(1))),
            others=other_rules(output, self.exact),
        )

    def _change(self, graph: Graph) -> float:
        after = Interpreter(graph).run({INPUT: self.x})[OUTPUT]
        with np.errstate(all="ignore"):
            return float(rms(after - self.exact) / rms(self.exact))

    def _ratio(self, output: NDArray[np.generic], way: Variation) -> float | None:
        if not np.isfinite(output).all():
            return None
        return rms(output.astype(np.float64) - self.exact) / self.predicted(way)

    def _places(
        self, made: Graph, seen: Values, precision: str, *, missing: bool = True
    ) -> tuple[tuple[str, float], ...]:
        found = judge_places(made, seen, ARITHMETIC[precision])
        gone = [(place, 1e30) for place in unseen(made, seen)] if missing else []
        return (*_kept(found), *gone)

    def _fused(
        self, graph: Graph, made: Graph, variation: str
    ) -> tuple[tuple[str, float], ...] | None:
        if variation != "ONNX Runtime":
            return None
        seen = {INPUT: self.x, **fused_values(canonical_graph(graph), self.x)}
        return self._places(made, seen, "f32", missing=False)

    def _structure(self, graph: Graph, precision: str) -> tuple[str, ...]:
        """The judge's places, in the order of its sentences."""
        if precision == "f16":
            sentences = compare(self._onnx(graph, "f16"), self._onnx(self.graph, "f16"))
        else:
            model = canonical_onnx(canonical_graph(graph), self.genotype, self.network)
            expected = canonical_onnx(canonical_graph(self.graph), self.genotype, self.network)
            result = judge_structure(model, expected, self.genotype, self.network)
            sentences = list(result.differences)
        return tuple(dict.fromkeys(sentence.partition(":")[0] for sentence in sentences))

    def _onnx(self, graph: Graph, precision: str) -> onnx.ModelProto:
        return write_onnx(deployed(graph, precision), {})


def _of_nodes(graph: Graph, seen: Values) -> Values:
    """What stands behind a node or outside the cells; no path."""
    return {
        name: value
        for name, value in seen.items()
        if not (graph[name].origin and graph[name].origin[0].path is not None)
    }


def _kept(errors: list[PlaceError]) -> tuple[tuple[str, float], ...]:
    ratios = [(error.place, float(f"{min(error.ratio, 1e30):.3g}")) for error in errors]
    large = [pair for pair in ratios if pair[1] > SMALLEST_KEPT]
    largest = max(ratios, key=lambda pair: pair[1], default=None)
    return tuple(dict.fromkeys([*large[:MOST_KEPT], *([] if largest is None else [largest])]))


# ---- what others look at ------------------------------------------------------------------------


RULES = {
    "torch.onnx (1e-3 and 1e-5)": (1e-3, 1e-5),
    "Polygraphy (1e-5 and 1e-5)": (1e-5, 1e-5),
    "optimum (1e-5)": (0.0, 1e-5),
    "1e-2 and 1e-2": (1e-2, 1e-2),
    "cosine above 0.999": None,
    "99 % of decisions": None,
}
"""Rules of other tools, as they are by default: (relative, absolute) where values are compared."""


def other_rules(output: NDArray[np.generic], exact: Array) -> tuple[str, ...]:
    """The rules that raise an alarm."""
    found = output.astype(np.float64)
    with np.errstate(all="ignore"):
        cosine = float(np.vdot(found, exact) / (np.linalg.norm(found) * np.linalg.norm(exact)))
        passed = {
            rule: np.allclose(found, exact, rtol=limits[0], atol=limits[1])
            for rule, limits in RULES.items()
            if limits is not None
        }
    passed["cosine above 0.999"] = cosine > 0.999
    passed["99 % of decisions"] = float(np.mean(found.argmax(1) == exact.argmax(1))) >= 0.99
    return tuple(rule for rule, well in passed.items() if not well)
