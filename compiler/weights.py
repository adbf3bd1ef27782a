"""Whether a set of tensors fits a network, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.graph import Weights
from datac.errors import BadInput


def check_weights(wanted: Mapping[str, tuple[int, ...]], weights: Weights, source: str) -> None:
    """BadInput unless names and shapes are exactly the wanted ones; `source` is the file's name.

    A shape that differs is named before a name that is missing: it says more about the cause.
    """
    for name, shape in wanted.items():
        if name in weights and tuple(weights[name].shape) != shape:
            raise BadInput(
                f"{source}: tensor {name} has shape {tuple(weights[name].shape)}, "
                f"the network needs {shape}"
            )
    for problem, names in (
        ("is missing", sorted(wanted.keys() - weights.keys())),
        ("is not part of this network", sorted(weights.keys() - wanted.keys())),
    ):
        if names:
            more = f" ({len(names) - 1} more likewise)" if len(names) > 1 else ""
            raise BadInput(f"{source}: tensor {names[0]} {problem}{more}")
