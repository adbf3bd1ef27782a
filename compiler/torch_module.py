"""The trainable module: a graph, run node by node in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.graph import Graph, Weights
from compiler.ops import Input, Op, QuantizedConv
from compiler.weights import check_weights

After = Callable[[str, Sequence[Tensor], Tensor], Tensor]
"""(name of a node, its operands, its result) → the result to go on with."""


Build = Callable[[Op], Callable[..., Any]]
"""An operation → what computes it; with the same weights, by the same names, as `Op.to_torch`."""


def stock_module(op: Op) -> Callable[..., Any]:
    """The operation's own."""
    return op.to_torch()


class DropPathModule(nn.Module):
    """Zero a path for some samples of the batch, scale it up for the others; training only.

    x: (N, ...). `rate` is the probability of zero, set by the training's schedule. After DATA-NAS
    `utils.py:drop_path`, but not in place.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        if not self.training or self.rate <= 0:
            return x
        shape = (x.shape[0], *[1] * (x.dim() - 1))
        keep = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)


class QuantizedConvModule(nn.Module):
    """(N, in_channels, H, W) → (N, out_channels, H', W'); the weights are buffers."""

    def __init__(self, op: QuantizedConv) -> None:
        super().__init__()
        self._op = op
        for name, spec in op.weights().items():
            self.register_buffer(name, torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)))

    def forward(self, x: Tensor) -> Tensor:
        """In the type of x."""
        op, held = self._op, {name: buffer.to(x.dtype) for name, buffer in self.named_buffers()}
        weight = held["weight"] * held["weight_scale"].reshape(-1, 1, 1, 1)
        bias = held["bias"] * held.get("bias_scale", 1) if op.bias else None
        return functional.conv2d(x, weight, bias, op.stride, op.padding, op.dilation, op.groups)


@dataclass(frozen=True)
class _Step:
    name: str
    call: Callable[..., Tensor]
    operands: tuple[str, ...]
    last_uses: tuple[str, ...]
    """Values that nobody reads after this step."""


class GraphModule(nn.Module):
    """Runs a graph. Submodules sit at the nodes' names, so weights have the graph's names.

    `build` may choose other modules for its operations.
    Takes the graph's inputs in order. Answers with its one output, or with a dict of all by name.
    """

    def __init__(self, graph: Graph, build: Build = stock_module) -> None:
        super().__init__()
        self.input_names = tuple(node.name for node in graph.inputs)
        self.outputs = dict(graph.outputs)
        self._steps = tuple(self._build(graph, build))
        self._chain = self._as_chain()

    def forward(self, *inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """See the class."""
        if self._chain is not None:
            (x,) = inputs
            for call in self._chain:
                x = call(x)
            return x
        results = self.run(inputs)
        return results if len(results) > 1 else next(iter(results.values()))

    def run(self, inputs: Sequence[Tensor], after: After | None = None) -> dict[str, Tensor]:
        """All outputs by name. `after` sees every node's result and answers with what to use."""
        values = dict(zip(self.input_names, inputs, strict=True))
        for step in self._steps:
            operands = [values[name] for name in step.operands]
            result = step.call(*operands)
            values[step.name] = after(step.name, operands, result) if after else result
            for name in step.last_uses:
                del values[name]
        return {key: values[name] for key, name in self.outputs.items()}

    def _as_chain(self) -> tuple[Callable[..., Tensor], ...] | None:
        """The calls, where each takes the one value before it: then nothing needs a name."""
        if len(self.input_names) != 1 or len(self.outputs) != 1:
            return None
        values = [*self.input_names, *(step.name for step in self._steps)]
        alone = all(
            step.operands == (before,) for step, before in zip(self._steps, values, strict=False)
        )
        ends = values[-1] in self.outputs.values()
        return tuple(step.call for step in self._steps) if alone and ends else None

    def _build(self, graph: Graph, build: Build) -> list[_Step]:
        nodes = [node for node in graph.nodes() if not isinstance(node.op, Input)]
        kept = {*graph.outputs.values()}
        last_use = {operand: node.name for node in nodes for operand in node.operands}
        steps = []
        for node in nodes:
            call: Any = build(node.op)
            if isinstance(call, nn.Module):
                self._place(node.name, call)
            done = {x for x in node.operands if last_use[x] == node.name and x not in kept}
            steps.append(_Step(node.name, call, node.operands, tuple(sorted(done))))
        return steps

    def _place(self, name: str, module: nn.Module) -> None:
        *containers, last = name.split("/")
        at: nn.Module = self
        for segment in containers:
            if segment not in at._modules:
                at.add_module(segment, nn.Module())
            at = at.get_submodule(segment)
        at.add_module(last, module)


def read_weights(module: nn.Module) -> Weights:
    """Every parameter and buffer by name, as numpy arrays of its own."""
    return {
        name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()
    }


def load_weights(module: nn.Module, weights: Weights, source: str) -> None:
    """Copy weights in; every name must be there, none besides, each of the right shape.

    Raises BadInput that names the first tensor that does not fit; `source` is where it came from.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_weights(wanted, weights, source)
    module.load_state_dict({name: torch.from_numpy(weights[name]) for name in wanted})


def bind(graph: Graph, module: nn.Module) -> None:
    """Give the graph the module's weights, as far as it has nodes for them."""
    weights = read_weights(module)
    graph.weights = {name: np.asarray(weights[name]) for name in graph.weight_specs()}
