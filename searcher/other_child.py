"""The weights of another child of the same cells: all of them, or its backbone (stem and cells).

The output stride changes no tensor of the cells (`compiler.candidates.factorized_reduce`), so what
was trained at stride 32 fits every other, as in DeepLab.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compiler.graph import Weights
from compiler.lower import lower
from compiler.weights import check_weights, read_weights_file
from datac.documents.build_folder import GENOTYPE, WEIGHTS
from datac.documents.child import finished_child
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput

HEAD = ("classes", "head_channels")
"""Sizes of a network that its head depends on, and its backbone does not."""


def whole(child: Path, genotype: Genotype, network: Network) -> Weights:
    """All weights of the child, which must be those of `network`.

    Raises BadInput where its cells or its tensors are others, or where its files are damaged.
    """
    theirs = _network_of(child, genotype, "--weights")
    _check_sizes(child, theirs, network, ("skeleton", "channels", "cells", *HEAD))
    weights = read_weights_file(child / WEIGHTS)
    check_weights(_shapes(genotype, network), weights, str(child / WEIGHTS))
    return weights


def backbone(child: Path, genotype: Genotype, network: Network) -> Weights:
    """The weights of stem and cells for `network`.

    Raises BadInput where the child's cells, stem, channels or number of cells are others, or
    where its files are damaged.
    """
    theirs = _network_of(child, genotype, "--backbone")
    _check_stems(child, theirs, network)
    _check_sizes(child, theirs, network, ("channels", "cells"))
    source = child / WEIGHTS
    weights = read_weights_file(source)
    check_weights(_shapes(genotype, theirs), weights, str(source))
    wanted = {
        name: shape for name, shape in _shapes(genotype, network).items() if _is_backbone(name)
    }
    carried = {name: array for name, array in weights.items() if _is_backbone(name)}
    check_weights(wanted, carried, str(source))
    return carried


def _network_of(child: Path, genotype: Genotype, option: str) -> Network:
    """What surrounds the cells of a finished child, which are those of `genotype`."""
    network = finished_child(child, genotype).network
    if network is None:
        raise BadInput(f"{child / GENOTYPE}: says no network; {option} takes a trained child")
    return network


def _shapes(genotype: Genotype, network: Network) -> dict[str, tuple[int, ...]]:
    return {name: spec.shape for name, spec in lower(genotype, network).weight_specs().items()}


def _check_stems(child: Path, theirs: Network, network: Network) -> None:
    for whose, one in ((f"{child} has", theirs), ("the network to train has", network)):
        if one.skeleton == "cifar":
            raise BadInput(
                f"{whose} the stem of the cifar network, which no other network shares; train the "
                "backbone with datac train --network imagenet, or go on with a child of the same "
                "network by --weights"
            )


def _check_sizes(child: Path, theirs: Network, network: Network, fields: Sequence[str]) -> None:
    for field in fields:
        has, wanted = getattr(theirs, field), getattr(network, field)
        if has != wanted:
            option = "network" if field == "skeleton" else field.replace("_", "-")
            way_out = "leave --weights out" if field == "classes" else f"give --{option} {has}"
            raise BadInput(
                f"{child} has {option} {has}, the network to train has {wanted}; {way_out}"
            )


def _is_backbone(name: str) -> bool:
    return name.startswith(("stem.", "cell"))
