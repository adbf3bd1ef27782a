"""The weights of a supernet, under the names and in the form of a child."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from compiler.lower import lower, used_paths
from compiler.ops import WeightSpec
from compiler.skeletons import SKELETONS
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput

IDENTITY = {"weight": 1.0, "bias": 0.0}
"""Where a child's batch norm has a scale and shift that the supernet's has not."""


def inherit(
    supernet_state: Mapping[str, Tensor], genotype: Genotype, network: Network
) -> tuple[dict[str, Tensor], list[str]]:
    """(weights of the child by name, supernet tensors that no part of the child wanted).

    A path takes its weights by cell, node, input and operation; where it stands twice in a node
    both take the same. Running statistics carry over. Dropped are the candidates that were not
    chosen and the batch norms behind pools, which a child does not have; scales and shifts of
    the cells' batch norms start as identity. The auxiliary head has no counterpart and is not
    in the result.

    Raises BadInput where the supernet was not that of this network.
    """
    segments = _segments(genotype, network)
    weights: dict[str, Tensor] = {}
    taken: set[str] = set()
    for name, spec in lower(genotype, network).weight_specs().items():
        source = _source(name, segments)
        found = supernet_state.get(source)
        if found is None:
            weights[name] = _identity(name, source, spec)
            continue
        if tuple(found.shape) != spec.shape:
            raise BadInput(
                f"the supernet's tensor {source} has shape {tuple(found.shape)}, the child needs "
                f"{spec.shape}; give the child the network that was searched"
            )
        weights[name] = found.detach().clone()
        taken.add(source)
    return weights, [name for name in supernet_state if name not in taken]


def _segments(genotype: Genotype, network: Network) -> dict[str, str]:
    """`cell3.node2.path0` → `cell3.node2.input1.sep_conv_3x3`, for every path of the child."""
    plans = SKELETONS[network.skeleton].plan(network)
    kinds = {plan.index: plan.kind for plan in plans}
    segments = {}
    for path in used_paths(genotype, plans):
        if path.cell is None or path.node is None or path.path is None:
            raise ValueError(f"{path} is no path")
        node = dict(genotype.cells[kinds[path.cell]].numbered())[path.node]
        at = f"cell{path.cell}.node{path.node}"
        segments[f"{at}.path{path.path}"] = (
            f"{at}.input{node.paths[path.path].input}.{path.operation}"
        )
    return segments


def _source(name: str, segments: Mapping[str, str]) -> str:
    """The supernet's name of a child's tensor."""
    steps = name.split(".")
    if steps[0].startswith("cell") and steps[1].startswith("preprocess"):
        return ".".join([steps[0], "preprocess", *steps[1:]])
    path = segments.get(".".join(steps[:3]))
    return name if path is None else ".".join([path, *steps[3:]])


def _identity(name: str, source: str, spec: WeightSpec) -> Tensor:
    suffix = name.rpartition(".")[2]
    in_cell = name.startswith("cell")
    if not (in_cell and len(spec.shape) == 1 and suffix in IDENTITY):
        raise BadInput(
            f"the supernet has no tensor {source}, which the child needs; "
            "give the child the network that was searched"
        )
    return torch.full(spec.shape, IDENTITY[suffix])
