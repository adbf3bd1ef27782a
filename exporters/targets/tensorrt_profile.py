"""TensorRT's layers, laid over the nodes of the ONNX that they were made from. Not run so far.

A plan that is built with detailed verbosity says of each layer `[ONNX Layer: NAME]` for every node
in it, in a field `Metadata`; another says the layers' names alone, which join those of the nodes
(`a + b`, `PWN(a, b)`, `{ForeignNode[a...b]}`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from exporters.targets.kernels import Kernel

NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
OWN = "Reformat"
"""How the names of layers begin that TensorRT adds by itself: changes of layout or type."""


def kernels_of(information: str, times: Mapping[str, Sequence[float]]) -> list[Kernel]:
    """The layers that were timed, in the order in which they ran.

    information: what `IEngineInspector.get_engine_information` gives as JSON. times: layer →
    milliseconds of each call.
    """
    layers = {}
    for layer in json.loads(information).get("Layers", []):
        described = {"Name": layer} if isinstance(layer, str) else layer
        layers[str(described["Name"])] = described
    return [
        Kernel(
            name,
            str(layers.get(name, {}).get("LayerType", "")),
            covered_nodes(layers.get(name, {"Name": name})),
            tuple(taken),
        )
        for name, taken in times.items()
    ]


def covered_nodes(layer: Mapping[str, object]) -> frozenset[str]:
    """The ONNX nodes of a layer; none for what TensorRT adds by itself, or does not say."""
    name = str(layer["Name"])
    if name.startswith(OWN):
        return frozenset()
    named = NODE.findall(str(layer.get("Metadata", "")))
    if named:
        return frozenset(named)
    # Names of ours have segments; of a range only both ends are told, so it is not taken apart.
    return frozenset(
        word for word in re.split(r"[\s+(),{}\[\]]+", name) if "/" in word and "..." not in word
    )
