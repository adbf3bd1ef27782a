"""The initialisers of two ONNX graphs: which differ, by how much, and which were mixed up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporters.graph_differences import GraphDifferences, Placed

Array = NDArray[np.generic]

MOST_VALUES_SHOWN = 8


def weight_differences(graph: GraphDifferences) -> list[Placed]:
    """Type, shape and bytes of every initialiser. `graph` has judged the nodes before."""
    names = {graph.values.get(name, name): name for name in graph.found.tensors}
    result, changed = [], {}
    for wanted in graph.expected.tensors:
        if wanted not in names:
            result += _missing(graph, wanted)
            continue
        held, right = graph.found.array(names[wanted]), graph.expected.array(wanted)
        assert held is not None
        assert right is not None
        if (held.dtype, held.shape) != (right.dtype, right.shape):
            result.append(_sentence(graph, wanted, _kinds(held, right)))
        elif held.tobytes() != right.tobytes():
            changed[wanted] = (held, right)
    mixed = graph.swapped_reads | _mixed_up(changed)
    result += _mix_ups(graph, mixed)
    for wanted, (held, right) in changed.items():
        if wanted not in mixed:
            result.append(_sentence(graph, wanted, _values(wanted, held, right)))
    extra = [name for right, name in names.items() if right not in graph.expected.tensors]
    if extra:
        more = f" (first: {extra[0]})"
        result.append((len(graph.expected.nodes), f"model: {len(extra)} initialisers more{more}"))
    return result


def _missing(graph: GraphDifferences, wanted: str) -> list[Placed]:
    """Not where a node's own sentence says that it does not read it."""
    explained = wanted in graph.doubted or wanted in graph.swapped_reads
    return [] if explained else [_sentence(graph, wanted, "is missing")]


def _mixed_up(changed: dict[str, tuple[Array, Array]]) -> dict[str, str]:
    """Wanted name → the name whose values it holds, of equal type and shape."""
    owners = {_key(right): name for name, (_, right) in changed.items()}
    return {name: owners[_key(held)] for name, (held, _) in changed.items() if _key(held) in owners}


def _key(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), array.shape, array.tobytes()


def _mix_ups(graph: GraphDifferences, mixed: dict[str, str]) -> list[Placed]:
    result = []
    for wanted, held in mixed.items():
        if mixed.get(held) != wanted:
            result.append(_sentence(graph, wanted, f"has the values of {held}"))
        elif wanted < held:
            order, place = graph.place(wanted)
            result.append((order, f"{place}: weights {wanted} and {held} are swapped"))
    return result


def _sentence(graph: GraphDifferences, name: str, phrase: str) -> Placed:
    order, place = graph.place(name)
    kind = "constant" if "/" in name else "weight"
    return order, f"{place}: {kind} {name} {phrase}"


def _kinds(held: Array, right: Array) -> str:
    return f"is {held.dtype} {held.shape} where {right.dtype} {right.shape} is expected"


def _values(name: str, held: Array, right: Array) -> str:
    if "/" in name and held.size <= MOST_VALUES_SHOWN:
        return f"is {held.tolist()} where {right.tolist()} is expected"
    with np.errstate(all="ignore"):
        distance = np.abs(held.astype(np.float64) - right.astype(np.float64))
    count = int(np.count_nonzero(distance))
    if not count:
        return "differs from weights.safetensors in the sign of zeros alone"
    largest = float(np.max(distance))
    return (
        f"differs from weights.safetensors (largest difference {largest:.2g}, "
        f"{count} of {held.size} values)"
    )
