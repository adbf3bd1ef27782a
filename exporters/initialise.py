"""Weights for a network that has none. One of the two places in this package that import torch."""

from __future__ import annotations

import torch
from torch import nn

from compiler.graph import Graph
from compiler.torch_module import GraphModule


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
