"""The supernet: every candidate on every edge, and codes that say which of them run.

Each candidate is the compiler's own graph in the search form, so a supernet restricted to one
code computes what the child of that code computes; with the compiler's modules, to the last bit.

    node j:  x_j = Σ over (input i, operation o) of w[j, i, o] · o(x_i)

One code serves all normal cells and one all reduction cells. `none` is never built: it adds
nothing, and its logit gets its gradient through the softmax of its group.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from compiler.candidates import candidate_graph
from compiler.cell import CellPlan
from compiler.ops import Op, TensorType
from compiler.skeletons import SKELETONS
from compiler.torch_module import Build, GraphModule
from datac.documents.genotype import Aggregation, Cell, CellKind
from datac.documents.network import Network
from searcher.candidate import SearchCandidate
from searcher.fast_modules import fast_module
from searcher.gumbel import Column, Layout
from searcher.layouts import concatenate
from searcher.parts import TwoTypes, head_graph, output_types, preprocess_graph, stem_graph
from searcher.unselected import Probe, SharedOutputs, scales_of, with_gradient_of


@dataclass(frozen=True, eq=False)
class Mixture:
    """What the cells of one kind compute: the sum of the selected paths.

    selected: (G, n) bool on the host; only these paths count, each 1, or 1 / (paths selected in
    the node) for the aggregation `mean`. weights: (G, n) where the supernet is, with those values,
    for an architecture step: they get the gradient dL/dw_k = <dL/dx_j, o_k(x_i)>, in which the
    weights of the operations have no part. `probe`: for the paths that were not selected, too.
    `soft`: the values of `weights` are any, and scale the selected paths.
    """

    selected: Tensor
    weights: Tensor | None = None
    probe: bool = True
    soft: bool = False


class Supernet(nn.Module):
    """Weights are named as in the child, but `node2.input0.sep_conv_3x3` for a path."""

    def __init__(
        self,
        network: Network,
        layout: Layout,
        aggregation: Aggregation = "sum",
        build: Build = fast_module,
    ) -> None:
        super().__init__()
        self.layout, self.aggregation = layout, aggregation
        skeleton = SKELETONS[network.skeleton]
        image = TensorType(("N", *network.input))
        stem = stem_graph(network, image)
        self.stem, states = GraphModule(stem, build), output_types(stem)
        self.cells: list[_Cell] = []
        for plan in skeleton.plan(network):
            cell = _Cell(plan, states, layout, build)
            self.add_module(f"cell{plan.index}", cell)
            self.cells.append(cell)
            states = (states[1], cell.result_type)
        self.head = GraphModule(head_graph(network, states[1], image), build)

    def forward(self, x: Tensor, mixtures: Mapping[CellKind, Mixture]) -> Tensor:
        """(N, 3, H, W) of any height and width → logits (N, K) or (N, K, H, W)."""
        jobs = {kind: self._jobs(mixture) for kind, mixture in mixtures.items()}
        stem = self.stem(x)
        states = stem["state0"], stem["state1"]
        for cell in self.cells:
            states = (states[1], cell(states, jobs[cell.plan.kind]))
        return cast("Tensor", self.head(states[1], x))

    def _jobs(self, mixture: Mixture) -> dict[int, _Job]:
        """What each node runs, read from the host's code once for all cells."""
        chosen = mixture.selected.tolist()
        jobs = {}
        for node in self.layout.node_numbers:
            paths = self.layout.paths(node)
            selected = [k for k, path in enumerate(paths) if chosen[path.group][path.index]]
            weights = None
            if mixture.weights is not None:
                groups, indices = zip(*((path.group, path.index) for path in paths), strict=True)
                weights = mixture.weights[list(groups), list(indices)]
            mean = self.aggregation == "mean" and not mixture.soft
            scale = 1 / max(len(selected), 1) if mean else 1.0
            jobs[node] = _Job(tuple(selected), scale, weights, mixture.probe, mixture.soft)
        return jobs


@dataclass(frozen=True, eq=False)
class _Job:
    """One node's part of a mixture. selected: places among its paths. weights: (paths)."""

    selected: tuple[int, ...]
    scale: float
    weights: Tensor | None
    probe: bool
    soft: bool


class _Cell(nn.Module):
    """Both inputs brought to one width, the nodes, and their results side by side."""

    def __init__(self, plan: CellPlan, states: TwoTypes, layout: Layout, build: Build) -> None:
        super().__init__()
        self.plan = plan
        preprocess = preprocess_graph(plan, states)
        self.preprocess = GraphModule(preprocess, build)
        types = dict(enumerate(output_types(preprocess)))
        self.nodes: dict[int, _MixedNode] = {}
        for number in layout.node_numbers:
            node = _MixedNode(plan, layout.paths(number), types, build)
            self.add_module(f"node{number}", node)
            self.nodes[number] = node
            types[number] = node.result_type
        last = types[layout.node_numbers[-1]]
        self.result_type = TensorType(
            (last.shape[0], last.channels * layout.nodes, *last.shape[2:])
        )

    def forward(self, states: tuple[Tensor, Tensor], jobs: Mapping[int, _Job]) -> Tensor:
        """Two (N, C, H, W) → (N, nodes · channels, H', W')."""
        inputs = self.preprocess(*states)
        values = _Values((inputs["input0"], inputs["input1"]))
        for number in self.nodes:
            values.by_number[number] = self.nodes[number](values, jobs[number])
        return concatenate(*(values.by_number[number] for number in self.nodes))


class _Values:
    """The values of a cell so far by number, and what candidates begin with on each of them."""

    def __init__(self, inputs: tuple[Tensor, Tensor]) -> None:
        self.by_number: dict[int, Tensor] = dict(enumerate(inputs))
        self._begun: dict[tuple[int, Op], Tensor] = {}
        self.shared = SharedOutputs()

    def begun(self, source: int, candidate: SearchCandidate) -> Tensor:
        """What the candidate's first operation makes of an input."""
        x = self.by_number[source]
        if candidate.first is None:
            return x
        key = (source, candidate.first)
        if key not in self._begun:
            self._begun[key] = candidate.begin(x)
        return self._begun[key]


class _MixedNode(nn.Module):
    """All candidates on all inputs of one node."""

    def __init__(
        self,
        plan: CellPlan,
        paths: Sequence[Column],
        types: Mapping[int, TensorType],
        build: Build,
    ) -> None:
        super().__init__()
        self.paths = tuple(paths)
        self.candidates: list[SearchCandidate] = []
        for path in paths:
            source = path.source
            graph = candidate_graph(path.operation, types[source], plan.place(source, "search"))
            self.result_type = graph[graph.outputs["y"]].type
            self._place(source, path.operation, SearchCandidate(graph, build))
        self._stride = plan.stride

    def _place(self, source: int, operation: str, candidate: SearchCandidate) -> None:
        self.candidates.append(candidate)
        name = f"input{source}"
        if name not in self._modules:
            self.add_module(name, nn.Module())
        self.get_submodule(name).add_module(operation, candidate.modules)

    def forward(self, values: _Values, job: _Job) -> Tensor:
        """Values of the inputs → (N, C, H', W')."""
        if job.weights is None:
            return self._total([self._run(k, values) for k in job.selected], values, job)
        if job.soft:
            results = [self._run(k, values) * job.weights[k] for k in job.selected]
            return self._total(results, values, job)
        return self._with_gradients(job.weights, values, job)

    def _with_gradients(self, weights: Tensor, values: _Values, job: _Job) -> Tensor:
        """The same value; a gradient reaches the weight of every path that is asked for."""
        norms = {k: norm for k in job.selected if (norm := self.candidates[k].norm) is not None}
        scales = scales_of(weights, norms, job.scale)
        results = [self._run(k, values, scales.get(k)) for k in job.selected]
        total = self._total(results, values, job)
        asked = range(len(self.paths)) if job.probe else job.selected
        probes = [
            Probe(k, self.paths[k].source, self.candidates[k]) for k in asked if k not in scales
        ]
        return with_gradient_of(weights, total, probes, values.by_number, values.shared)

    def _run(self, k: int, values: _Values, scale: Tensor | None = None) -> Tensor:
        """One path, its last batch norm scaled where a scale is given."""
        candidate = self.candidates[k]
        begun = values.begun(self.paths[k].source, candidate)
        return candidate.finish(begun) if scale is None else candidate.finish_scaled(begun, scale)

    def _total(self, results: Sequence[Tensor], values: _Values, job: _Job) -> Tensor:
        if not results:  # only `none` was drawn
            return self._nothing(values.by_number[1])
        total = functools.reduce(operator.add, results)
        return total if job.scale == 1 else total * job.scale

    def _nothing(self, x: Tensor) -> Tensor:
        height, width = (-(-size // self._stride) for size in x.shape[2:])
        return x.new_zeros(x.shape[0], self.result_type.channels, height, width)


# ---------------------------------------------------------------- batch norms


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms use the statistics of the batch and leave the running ones alone.

    Running statistics move in weight steps only, and only those of operations that ran in one:
    elsewhere they would mix in what no child computes. An architecture step and a validation of
    a code therefore measure by the batch (as DARTS prescribes for a supernet).
    """
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]
    training = [norm.training for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, before in zip(norms, training, strict=True):
            norm.training, norm.track_running_stats = before, True


@contextmanager
def frozen(supernet: nn.Module) -> Iterator[None]:
    """Batch statistics, and weights that ask for no gradient: what an architecture step holds.

    What only they would need is then neither computed nor kept.
    """
    learning = [weight for weight in supernet.parameters() if weight.requires_grad]
    for weight in learning:
        weight.requires_grad_(False)
    try:
        with batch_statistics(supernet):
            yield
    finally:
        for weight in learning:
            weight.requires_grad_()


class FixedCode(nn.Module):
    """A supernet restricted to one code, measured by batch statistics: (N, 3, H, W) → logits."""

    def __init__(self, supernet: Supernet, selected: Mapping[CellKind, Tensor]) -> None:
        super().__init__()
        self.supernet = supernet
        self._mixtures = {kind: Mixture(code) for kind, code in selected.items()}

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        with batch_statistics(self.supernet):
            return cast("Tensor", self.supernet(x, self._mixtures))


def code_of(cell: Cell, layout: Layout) -> Tensor:
    """The code that selects exactly the cell's paths, (G, n) bool. A repeated path counts once."""
    code = torch.zeros(layout.shape, dtype=torch.bool)
    for number, node in cell.numbered():
        wanted = {(path.input, path.operation) for path in node.paths}
        for column in layout.paths(number):
            code[column.group, column.index] = (column.input, column.operation) in wanted
    return code
