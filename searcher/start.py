"""What a child's weights begin as: from scratch, a supernet's, another child's or its backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from compiler.graph import Weights
from compiler.weights import read_weights_file
from datac.documents.build_folder import WEIGHTS
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.train_result import Start as Kind
from datac.errors import BadInput
from searcher.divergence import first_not_finite
from searcher.inherit import inherit
from searcher.other_child import backbone, whole
from searcher.outcome import SUPERNET


@dataclass(frozen=True)
class Sources:
    """The folder that a training begins with, if any: a RUN, or a CHILD whole or its backbone."""

    inherit: Path | None = None
    backbone: Path | None = None
    weights: Path | None = None


@dataclass(frozen=True, eq=False)
class Start:
    """`weights` by the child's names; what they leave out begins as torch draws it.

    `source`: the folder they came from. `dropped`: tensors there that have no counterpart here.
    `digest`: SHA-256 of the file of weights, so that a resumed training begins with the same.
    """

    kind: Kind = "scratch"
    source: Path | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    digest: str = ""

    def apply(self, module: nn.Module) -> None:
        """Copy the weights in; names and shapes were checked when they were read."""
        module.load_state_dict({**module.state_dict(), **self.weights})


def start_from(genotype: Genotype, network: Network, sources: Sources) -> Start:
    """The start that the command line asks for; BadInput where the weights do not fit."""
    given = [name for name, folder in vars(sources).items() if folder is not None]
    if len(given) > 1:
        raise BadInput(f"both --{given[0]} and --{given[1]} were given; choose one")
    if sources.inherit is not None:
        return _from_supernet(genotype, network, sources.inherit)
    if sources.backbone is not None:
        carried = backbone(sources.backbone, genotype, network)
        return _from_child("backbone", sources.backbone, carried)
    if sources.weights is not None:
        return _from_child("child", sources.weights, whole(sources.weights, genotype, network))
    return Start()


def _from_child(kind: Kind, child: Path, arrays: Weights) -> Start:
    weights = _tensors(arrays)
    _check_finite(weights, child / WEIGHTS)
    return Start(kind, child, weights, digest=_digest(child / WEIGHTS))


def _from_supernet(genotype: Genotype, network: Network, run: Path) -> Start:
    path = run / SUPERNET
    if not path.is_file():
        raise BadInput(
            f"{run}: there is no {SUPERNET}, which a finished search leaves; give --inherit the "
            "folder that datac search wrote"
        )
    supernet = _tensors(read_weights_file(path))
    try:
        weights, dropped = inherit(supernet, genotype, network)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    _check_finite({name: supernet[name] for name in supernet.keys() - {*dropped}}, path)
    return Start("supernet", run, weights, tuple(dropped), _digest(path))


def _check_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """BadInput where one that the child begins with is not: its loss would be NaN at once."""
    broken = first_not_finite(dict(sorted(weights.items())))
    if broken is not None:
        raise BadInput(
            f"{path}: tensor {broken} holds a value that is NaN or infinite, so a child cannot "
            "begin with it; give a folder whose loss stayed finite"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors(weights: Weights) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in weights.items()}
