"""The float64 reference, and the float32 error that its arithmetic predicts.

One of the two places in this package that import torch.

The prediction runs the *folded* graph, which is what engines run, once more in float64 with
rounding noise put in by hand: after every operation that rounds, a normal deviate of u / √3 times
the magnitude of the result; a convolution or linear layer of K products adds √K · √(w² * x²), the
growth of a running sum. That is done at u = 2⁻¹⁴ and scaled to float32's 2⁻²⁴, since errors this
small grow linearly. Rounding is not random, but its effect on a bulk of outputs is, nearly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compiler.graph import Graph
from compiler.ops import Concat, Conv, Flatten, Identity, Input, Linear, MaxPool, Relu, Shift
from compiler.torch_module import GraphModule, load_weights
from exporters.reference import Case, Reference

UNIT_NOISE = 2.0**-14
UNIT_FLOAT32 = 2.0**-24
EXACT = (Input, Concat, Flatten, Identity, MaxPool, Relu, Shift)
"""Operations that only move or choose values."""


def make_reference(
    graph: Graph, canonical: Graph, inputs: Sequence[tuple[str, NDArray[np.float32]]]
) -> Reference:
    """Outputs of the unfolded graph in float64, and the predicted relative error per output.

    The relative error is pooled over the inputs: one noisy run each.
    """
    exact, noisy = _double(graph), _NoisyRun(canonical)
    cases = []
    squares: dict[str, list[float]] = {key: [] for key in graph.outputs}
    with torch.inference_mode():
        for name, value in inputs:
            x = torch.from_numpy(value).double()
            outputs = exact.run([x])
            cases.append(Case(name, value, {key: y.numpy() for key, y in outputs.items()}))
            for key, y in noisy(x).items():
                error = (y - outputs[key]).square().mean()
                size = outputs[key].square().mean()
                squares[key].append(float(error / size) if size else 0.0)
    scale = UNIT_FLOAT32 / UNIT_NOISE
    predicted = {key: float(np.sqrt(np.mean(values))) * scale for key, values in squares.items()}
    return Reference(tuple(cases), predicted)


class _NoisyRun:
    """Runs a graph in float64 with rounding noise at `UNIT_NOISE`."""

    def __init__(self, graph: Graph) -> None:
        self._ops = {node.name: node.op for node in graph.nodes()}
        self._module = _double(graph)
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        return self._module.run([x], self._disturb)

    def _disturb(self, name: str, operands: Sequence[Tensor], result: Tensor) -> Tensor:
        op = self._ops[name]
        if isinstance(op, EXACT):
            return result
        magnitude = result.abs()
        if isinstance(op, Conv | Linear):
            magnitude = magnitude + self._running_sum(name, operands[0])
        noise = torch.randn(result.shape, generator=self._generator, dtype=result.dtype)
        return result + noise * magnitude * (UNIT_NOISE / 3**0.5)

    def _running_sum(self, name: str, x: Tensor) -> Tensor:
        layer = self._module.get_submodule(name.replace("/", "."))
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        weight = layer.weight
        products = weight[0].numel()
        if isinstance(layer, nn.Linear):
            energy = nn.functional.linear(x.square(), weight.square())
        else:
            energy = nn.functional.conv2d(
                x.square(),
                weight.square(),
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
            )
        growth: Tensor = energy.clamp(min=0).sqrt() * products**0.5
        return growth


def _double(graph: Graph) -> GraphModule:
    module = GraphModule(graph)
    load_weights(module, graph.weights, "graph")
    return module.double().eval()


def initialise(graph: Graph, shape: tuple[int, int, int], seed: int) -> None:
    """Bind weights drawn from `seed`, batch-norm statistics set on one seeded batch.

    Without the statistics activations would grow from cell to cell as no trained network's do.
    """
    torch.manual_seed(seed)
    module = GraphModule(graph)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the statistics of this batch alone
    batch = torch.randn(4, *shape)
    with torch.no_grad():
        module.train()(batch)
    state = module.state_dict()
    graph.weights = {name: state[name].numpy().copy() for name in graph.weight_specs()}
