"""The supernet: every candidate on every edge, and codes that say which of them run.

Each candidate is the compiler's own graph in the search form, so a supernet restricted to one
code computes what the child of that code computes, to the last bit.

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
from typing import Any, cast

import torch
from torch import Tensor, nn

from compiler.candidates import candidate_graph
from compiler.cell import CellPlan, preprocess
from compiler.graph import Graph
from compiler.lower import INPUT, OUTPUT
from compiler.ops import Input, TensorType
from compiler.scope import Scope
from compiler.skeletons import SKELETONS
from compiler.torch_module import GraphModule
from datac.documents.genotype import Aggregation, Cell, CellKind
from datac.documents.network import Network
from searcher.gumbel import Column, Layout


@dataclass(frozen=True, eq=False)
class Mixture:
    """What the cells of one kind compute.

    selected: (G, n) bool on the host; only these paths count. weights: (G, n) where the supernet
    is, carrying the architecture's gradient: then the paths that were not selected are evaluated
    too, since dL/dw_k = <dL/dx_j, o_k(x_i)> is not zero for them. Without it only the selected
    paths run. The values are the same either way: 1, or 1 / (paths selected in the node) for
    the aggregation `mean`.
    """

    selected: Tensor
    weights: Tensor | None = None


class Supernet(nn.Module):
    """Weights are named as in the child, but `node2.input0.sep_conv_3x3` for a path."""

    def __init__(self, network: Network, layout: Layout, aggregation: Aggregation = "sum") -> None:
        super().__init__()
        self.layout, self.aggregation = layout, aggregation
        skeleton = SKELETONS[network.skeleton]
        image = TensorType(("N", *network.input))
        self.stem, states = _stem(network, image)
        self._cells: list[_Cell] = []
        for plan in skeleton.plan(network):
            cell = _Cell(plan, states, layout)
            self.add_module(f"cell{plan.index}", cell)
            self._cells.append(cell)
            states = (states[1], cell.result_type)
        self.head = _head(network, states[1], image)

    def forward(self, x: Tensor, mixtures: Mapping[CellKind, Mixture]) -> Tensor:
        """(N, 3, H, W) of any height and width → logits (N, K) or (N, K, H, W)."""
        jobs = {kind: self._jobs(mixture) for kind, mixture in mixtures.items()}
        stem = self.stem(x)
        states = stem["state0"], stem["state1"]
        for cell in self._cells:
            states = (states[1], cell(states, jobs[cell.plan.kind]))
        return cast("Tensor", self.head(states[1], x))

    def _jobs(self, mixture: Mixture) -> dict[int, _Job]:
        """What each node runs, read from the host's code once for all cells."""
        chosen = mixture.selected.tolist()
        jobs = {}
        for node in self.layout.node_numbers:
            paths = self.layout.paths(node)
            flags = tuple(bool(chosen[path.group][path.index]) for path in paths)
            count = max(sum(flags), 1)
            weights = None
            if mixture.weights is not None:
                groups, indices = zip(*((path.group, path.index) for path in paths), strict=True)
                weights = mixture.weights[list(groups), list(indices)]
            scale = 1 / count if self.aggregation == "mean" else 1.0
            jobs[node] = _Job(paths, flags, scale, weights)
        return jobs


@dataclass(frozen=True, eq=False)
class _Job:
    """One node's part of a code. weights: (number of paths), see `Mixture`."""

    paths: tuple[Column, ...]
    selected: tuple[bool, ...]
    scale: float
    weights: Tensor | None


class _Cell(nn.Module):
    """Both inputs brought to one width, the nodes, and their results side by side."""

    def __init__(
        self, plan: CellPlan, states: tuple[TensorType, TensorType], layout: Layout
    ) -> None:
        super().__init__()
        self.plan = plan
        self.preprocess, inputs = _preprocess(plan, states)
        types = dict(enumerate(inputs))
        self._nodes: dict[int, _MixedNode] = {}
        for number in layout.node_numbers:
            node = _MixedNode(plan, layout.paths(number), types)
            self.add_module(f"node{number}", node)
            self._nodes[number] = node
            types[number] = node.result_type
        last = types[layout.node_numbers[-1]]
        self.result_type = TensorType(
            (last.shape[0], last.channels * layout.nodes, *last.shape[2:])
        )

    def forward(self, states: tuple[Tensor, Tensor], jobs: Mapping[int, _Job]) -> Tensor:
        """Two (N, C, H, W) → (N, nodes · channels, H', W')."""
        inputs = self.preprocess(*states)
        values = {0: inputs["input0"], 1: inputs["input1"]}
        for number in self._nodes:
            values[number] = self._nodes[number](values, jobs[number])
        return torch.cat([values[number] for number in self._nodes], 1)


class _MixedNode(nn.Module):
    """All candidates on all inputs of one node."""

    def __init__(
        self, plan: CellPlan, paths: Sequence[Column], types: Mapping[int, TensorType]
    ) -> None:
        super().__init__()
        self._candidates: dict[tuple[int, str], GraphModule] = {}
        for path in paths:
            source = _source(path)
            graph = candidate_graph(path.operation, types[source], plan.place(source, "search"))
            self.result_type = graph[graph.outputs["y"]].type
            self._place(source, path.operation, GraphModule(graph))
        self._stride = plan.stride

    def _place(self, source: int, operation: str, module: GraphModule) -> None:
        self._candidates[source, operation] = module
        name = f"input{source}"
        if name not in self._modules:
            self.add_module(name, nn.Module())
        self.get_submodule(name).add_module(operation, module)

    def forward(self, values: Mapping[int, Tensor], job: _Job) -> Tensor:
        """Values of the inputs by number → (N, C, H', W')."""
        results: list[Tensor] = []
        for path, selected in zip(job.paths, job.selected, strict=True):
            if selected:
                results.append(self._run(path, values))
            elif job.weights is not None:
                with torch.no_grad():
                    results.append(self._run(path, values))
        if job.weights is None:
            return self._total(results, values, job)
        chosen = [result for result, keep in zip(results, job.selected, strict=True) if keep]
        total = self._total(chosen, values, job)
        return _with_gradient_of(job.weights, results, total)

    def _run(self, path: Column, values: Mapping[int, Tensor]) -> Tensor:
        source = _source(path)
        return cast("Tensor", self._candidates[source, path.operation](values[source]))

    def _total(self, results: Sequence[Tensor], values: Mapping[int, Tensor], job: _Job) -> Tensor:
        if not results:  # only `none` was drawn
            return self._nothing(values[1])
        total = functools.reduce(operator.add, results)
        return total if job.scale == 1 else total * job.scale

    def _nothing(self, x: Tensor) -> Tensor:
        height, width = (-(-size // self._stride) for size in x.shape[2:])
        return x.new_zeros(x.shape[0], self.result_type.channels, height, width)


class _Gradient(torch.autograd.Function):
    """`total`, with the gradient that Σ w_k · outputs_k has with respect to w.

    outputs: (K, elements), detached: through the operations the gradient goes by way of `total`.
    """

    @staticmethod
    def forward(ctx: Any, total: Tensor, weights: Tensor, outputs: Tensor) -> Tensor:
        ctx.save_for_backward(outputs)
        ctx.dtype = weights.dtype
        return total.view_as(total)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (outputs,) = ctx.saved_tensors
        products = outputs @ _flat(gradients[0]).to(outputs.dtype)
        return gradients[0], products.to(ctx.dtype), None


def _with_gradient_of(weights: Tensor, results: Sequence[Tensor], total: Tensor) -> Tensor:
    outputs = torch.stack([_flat(result.detach()) for result in results])
    result: Tensor = _Gradient.apply(total, weights, outputs)  # type: ignore[no-untyped-call]
    return result


def _flat(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N·H·W·C): no copy where the channels come last in memory."""
    return x.permute(0, 2, 3, 1).reshape(-1)


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


# ---------------------------------------------------------------- graphs of the parts


def _stem(network: Network, image: TensorType) -> tuple[GraphModule, tuple[TensorType, TensorType]]:
    graph = Graph()
    x = graph.add(INPUT, Input(image.shape))
    states = SKELETONS[network.skeleton].stem(Scope(graph), x, network)
    return _two_outputs(graph, states, "state")


def _preprocess(
    plan: CellPlan, states: tuple[TensorType, TensorType]
) -> tuple[GraphModule, tuple[TensorType, TensorType]]:
    graph = Graph()
    sources = [graph.add(f"state{i}", Input(state.shape)) for i, state in enumerate(states)]
    inputs = preprocess(Scope(graph), plan, (sources[0], sources[1]), "search")
    return _two_outputs(graph, inputs, "input")


def _two_outputs(
    graph: Graph, values: tuple[str, str], name: str
) -> tuple[GraphModule, tuple[TensorType, TensorType]]:
    for index, value in enumerate(values):
        graph.set_output(f"{name}{index}", value)
    return GraphModule(graph), (graph[values[0]].type, graph[values[1]].type)


def _head(network: Network, features: TensorType, image: TensorType) -> GraphModule:
    graph = Graph()
    source = graph.add("features", Input(features.shape))
    x = graph.add(INPUT, Input(image.shape))
    head = SKELETONS[network.skeleton].head
    graph.set_output(OUTPUT, head(Scope(graph), source, x, network))
    return GraphModule(graph)


def _source(path: Column) -> int:
    if path.input is None:
        raise ValueError(f"{path.operation} has no input, so it is no path")
    return path.input
