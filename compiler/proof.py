"""The proof of a rewrite: both graphs in float64, on random weights and inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from compiler.graph import Graph, Weights
from compiler.torch_module import GraphModule, load_weights

TOLERANCE = 1e-12
"""Relative; folding measured at most 5e-15 (docs/performance.md)."""


@dataclass(frozen=True)
class Proof:
    """The largest difference over all outputs, relative to the largest magnitude."""

    max_relative: float

    @property
    def holds(self) -> bool:
        """Whether the graphs are one function up to rounding in float64."""
        return self.max_relative <= TOLERANCE


def prove(before: Graph, after: Graph, *, seed: int = 0, batch: int = 2) -> Proof:
    """Run both on the same random inputs of the graph's own sizes.

    Weights are those bound to each graph: bind random ones (`randomise`) before rewriting.
    """
    generator = np.random.default_rng(seed)
    inputs = []
    for node in before.inputs:
        shape = [batch if isinstance(size, str) else size for size in node.type.shape]
        inputs.append(torch.from_numpy(generator.standard_normal(shape)))
    ratios = [0.0]
    for left, right in zip(run(before, inputs), run(after, inputs), strict=True):
        scale = max(float(left.abs().max()), 1e-300)
        ratios.append(float((left - right).abs().max()) / scale)
    return Proof(float(np.max(ratios)))  # NaN if any is, unlike Python's max


def run(graph: Graph, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """The graph's outputs by name order, in float64 and inference mode."""
    module = GraphModule(graph).double().eval()
    load_weights(module, graph.weights, "graph")
    with torch.inference_mode():
        result = module(*inputs)
    return list(result.values()) if isinstance(result, dict) else [result]


def randomise(graph: Graph, seed: int = 0) -> None:
    """Bind random float64 weights: small filters, batch-norm gains and variances around one."""
    generator = np.random.default_rng(seed)
    weights: Weights = {}
    for name, spec in graph.weight_specs().items():
        if spec.dtype == "int64":
            weights[name] = np.zeros(spec.shape, np.int64)
        elif name.endswith("running_var") or (len(spec.shape) == 1 and name.endswith("weight")):
            weights[name] = generator.uniform(0.5, 2.0, spec.shape)
        else:
            fan_in = max(1, int(np.prod(spec.shape[1:])))
            weights[name] = generator.standard_normal(spec.shape) / np.sqrt(fan_in)
    graph.weights = weights
