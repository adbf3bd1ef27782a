"""What the candidate operations look like in ONNX: recognised from a value backwards.

Written from the definitions of the operations (DARTS, NASNet), not from the compiler: this is
the second opinion on what the compiler emits. Recognition is lenient, so that a damaged path is
still known as what it was meant to be; `faults` then says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exporters.onnx_view import OnnxNode, OnnxView

POINTWISE = [1, 1]
UNSHIFTED, SHIFTED = "conv0", "conv1"
END_OF_AXIS = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Site:
    """Where a path stands: its width, the stride it must have, the dilation of its cell.

    reduces: on an input of a reduction cell, with the stride or without: a skip has weights there.
    """

    channels: int
    stride: int
    dilation: int
    reduces: bool = False


@dataclass(frozen=True)
class Trace:
    """A value, traced back over one operation to the value that it reads.

    `operation` is a candidate's name; None where the nodes form none, and `source` is then "".
    `roles` holds the nodes by what they do in it; `missing` what should be there and is not.
    """

    value: str
    operation: str | None
    source: str
    roles: dict[str, OnnxNode] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[OnnxNode, ...]:
        """The ONNX nodes of the path."""
        return tuple(self.roles.values())


def trace_path(view: OnnxView, value: str) -> Trace:
    """The candidate operation that ends in this value."""
    end = view.maker(value)
    trace = _ENDS[end.op_type](view, end) if end is not None and end.op_type in _ENDS else None
    if trace is not None:
        return trace
    return Trace(value, None, "", {} if end is None else {"end": end})


def trace_preprocess(view: OnnxView, value: str) -> Trace | None:
    """What brings a cell's input to its width: `pointwise`, or `factorized` after a reduction."""
    end = view.maker(value)
    if end is None or end.op_type == "Concat":
        trace = None if end is None else _factorized_reduce(view, end)
        return trace and Trace(value, "factorized", trace.source, trace.roles, trace.missing)
    if not _is_pointwise(end) or _depthwise(view, end.inputs[0]) is not None:
        return None
    relu, source, missing = _relu(view, end.inputs[0], "the ReLU before its convolution")
    return Trace(value, "pointwise", source, {"conv": end, **relu}, missing)


# ---- recognition -----------------------------------------------------------------------------


def _identity(view: OnnxView, end: OnnxNode) -> Trace:
    del view
    return Trace(end.output, "skip_connect", end.inputs[0], {"identity": end})


def _pool(view: OnnxView, end: OnnxNode) -> Trace:
    del view
    kind = "max" if end.op_type == "MaxPool" else "avg"
    size = "x".join(map(str, end.attributes.get("kernel_shape", ())))
    return Trace(end.output, f"{kind}_pool_{size}", end.inputs[0], {"pool": end})


def _factorized_reduce(view: OnnxView, end: OnnxNode) -> Trace | None:
    """Concat of two 1x1 convolutions on one map; at stride 2 the second reads it shifted by one."""
    convs = [view.maker(value, "Conv") for value in end.inputs]
    if len(convs) != 2 or convs[0] is None or convs[1] is None or convs[0] is convs[1]:
        return None
    if not all(_is_pointwise(conv) for conv in convs if conv):
        return None
    bases = [_unshift(view, conv.inputs[0]) for conv in convs if conv]
    if not any(shift for _, shift in bases) and not all(
        view.maker(base, "Relu") for base, _ in bases
    ):
        return None
    return _halves(view, end, (convs[0], convs[1]), bases)


def _halves(
    view: OnnxView,
    end: OnnxNode,
    convs: tuple[OnnxNode, OnnxNode],
    bases: list[tuple[str, dict[str, OnnxNode]]],
) -> Trace:
    roles = {"concat": end, UNSHIFTED: convs[0], SHIFTED: convs[1]}
    missing: list[str] = []
    sources = []
    for (base, shift), name in zip(bases, (UNSHIFTED, SHIFTED), strict=True):
        relu, source, lacks = _relu(view, base, f"the ReLU before {name}")
        sources.append(source)
        missing += lacks
        roles |= {f"{key}_{name}": node for key, node in (relu | shift).items()}
        if shift and name == UNSHIFTED:
            missing.append(f"{name} reads the map shifted")
        if shift and len(shift) < 2:
            missing.append(f"the shift before {name} lacks its {_other(shift)}")
    if sources[0] != sources[1]:
        missing.append(f"its halves read two maps, {sources[0]} and {sources[1]}")
    if roles.get(f"relu_{UNSHIFTED}") is roles.get(f"relu_{SHIFTED}"):
        roles.pop(f"relu_{SHIFTED}", None)
    return Trace(end.output, "skip_connect", sources[0], roles, tuple(missing))


def _other(shift: dict[str, OnnxNode]) -> str:
    return "Slice" if "pad" in shift else "Pad"


def _unshift(view: OnnxView, value: str) -> tuple[str, dict[str, OnnxNode]]:
    """The map before a shift by one, and the nodes of the shift; none where there is no shift."""
    nodes: dict[str, OnnxNode] = {}
    for role, op_type in (("slice", "Slice"), ("pad", "Pad")):
        node = view.maker(value, op_type)
        if node is not None:
            nodes[role], value = node, node.inputs[0]
    return value, nodes


def _convolutions(view: OnnxView, end: OnnxNode) -> Trace | None:
    if end.attributes.get("kernel_shape") == [7, 1]:
        return _factorized_7(view, end)
    return _separable(view, end)


def _factorized_7(view: OnnxView, end: OnnxNode) -> Trace | None:
    row = view.maker(end.inputs[0], "Conv")
    if row is None or row.attributes.get("kernel_shape") != [1, 7]:
        return None
    relu, source, missing = _relu(view, row.inputs[0], "its ReLU")
    roles = {"conv_7x1": end, "conv_1x7": row, **relu}
    return Trace(end.output, "conv_7x1_1x7", source, roles, missing)


def _separable(view: OnnxView, end: OnnxNode) -> Trace | None:
    """[ReLU, depthwise, 1x1] once (dil_conv) or twice (sep_conv), the last first."""
    stages: list[tuple[OnnxNode, OnnxNode, dict[str, OnnxNode]]] = []
    value = end.output
    while len(stages) < 2:
        pointwise = view.maker(value, "Conv")
        if pointwise is None or not _is_pointwise(pointwise):
            break
        depthwise = _depthwise(view, pointwise.inputs[0])
        if depthwise is None:
            break
        relu, value, _ = _relu(view, depthwise.inputs[0], "")
        stages.append((pointwise, depthwise, relu))
    if not stages:
        return None
    stages.reverse()
    roles: dict[str, OnnxNode] = {}
    for index, (pointwise, depthwise, relu) in enumerate(stages):
        roles |= {f"{key}{index}": node for key, node in relu.items()}
        roles |= {f"depthwise{index}": depthwise, f"pointwise{index}": pointwise}
    missing = tuple(
        f"lacks the ReLU before depthwise{index}"
        for index, (_, _, relu) in enumerate(stages)
        if not relu
    )
    size = "x".join(map(str, stages[0][1].attributes["kernel_shape"]))
    name = f"{'sep' if len(stages) == 2 else 'dil'}_conv_{size}"
    return Trace(end.output, name, value, roles, missing)


def _relu(
    view: OnnxView, value: str, what: str
) -> tuple[dict[str, OnnxNode], str, tuple[str, ...]]:
    """The ReLU that makes a value, and what it reads; without it, that `what` is missing."""
    node = view.maker(value, "Relu")
    return ({}, value, (f"lacks {what}",)) if node is None else ({"relu": node}, node.inputs[0], ())


def _is_pointwise(node: OnnxNode) -> bool:
    attributes = node.attributes
    return (
        node.op_type == "Conv"
        and attributes.get("kernel_shape") == POINTWISE
        and attributes.get("group") == 1
    )


def _depthwise(view: OnnxView, value: str) -> OnnxNode | None:
    node = view.maker(value, "Conv")
    if node is None or "kernel_shape" not in node.attributes:
        return None
    return node if node.attributes.get("group", 1) > 1 else None


_ENDS: dict[str, Callable[[OnnxView, OnnxNode], Trace | None]] = {
    "Identity": _identity,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "Concat": _factorized_reduce,
    "Conv": _convolutions,
}


# ---- what is wrong with it -------------------------------------------------------------------


def faults(view: OnnxView, trace: Trace, site: Site) -> list[str]:
    """How a recognised operation differs from its definition at this site, one phrase each."""
    found = list(trace.missing)
    for role, node in trace.roles.items():
        found += _faults_of(view, trace, role, node, site)
    if trace.operation == "skip_connect" and ("identity" in trace.roles) == site.reduces:
        kinds = ["an identity", "a factorized reduction"]
        found.append(f"is {kinds[not site.reduces]} where {kinds[site.reduces]} is expected")
    if SHIFTED in trace.roles and f"slice_{SHIFTED}" not in trace.roles and site.stride == 2:
        found.append(f"{SHIFTED} reads the map unshifted")
    if f"slice_{SHIFTED}" in trace.roles and site.stride == 1:
        found.append(f"{SHIFTED} reads the map shifted where nothing is halved")
    return found


def _faults_of(view: OnnxView, trace: Trace, role: str, node: OnnxNode, site: Site) -> list[str]:
    if node.op_type == "Conv":
        return _conv_role_faults(view, trace, role, node, site)
    if role == "pool":
        return _pool_faults(role, node, site.stride)
    if role == "concat":
        return attribute_faults(role, node, {"axis": 1})
    return _shift_faults(view, role, node)


def _conv_role_faults(
    view: OnnxView, trace: Trace, role: str, node: OnnxNode, site: Site
) -> list[str]:
    if role in (UNSHIFTED, SHIFTED):
        return conv_faults(view, role, node, site.channels // 2, strides=[site.stride] * 2)
    if role.startswith("depthwise"):
        return _depthwise_faults(view, trace, role, node, site)
    if role.startswith("conv_"):
        return _factorized_7_faults(view, role, node, site)
    return conv_faults(view, role, node, site.channels)


def _depthwise_faults(
    view: OnnxView, trace: Trace, role: str, node: OnnxNode, site: Site
) -> list[str]:
    dilated = 2 if (trace.operation or "").startswith("dil_") else 1
    dilation = dilated * site.dilation
    stride = site.stride if role == "depthwise0" else 1
    # The name came from the first: both must have that kernel.
    kernel = trace.roles["depthwise0"].attributes["kernel_shape"]
    reach = dilation * (kernel[0] - 1) // 2
    wanted: dict[str, Any] = {
        "strides": [stride] * 2,
        "pads": [reach] * 4,
        "dilations": [dilation] * 2,
    }
    wanted |= {"group": site.channels, "kernel_shape": kernel}
    return conv_faults(view, role, node, site.channels, bias=False, **wanted)


def _factorized_7_faults(view: OnnxView, role: str, node: OnnxNode, site: Site) -> list[str]:
    row = role == "conv_1x7"
    reach, dilation = 3 * site.dilation, site.dilation
    wanted = {
        "strides": [1, site.stride] if row else [site.stride, 1],
        "pads": [0, reach, 0, reach] if row else [reach, 0, reach, 0],
        "dilations": [1, dilation] if row else [dilation, 1],
        "kernel_shape": [1, 7] if row else [7, 1],
    }
    return conv_faults(view, role, node, site.channels, bias=not row, **wanted)


def conv_faults(
    view: OnnxView, role: str, node: OnnxNode, width: int, *, bias: bool = True, **wanted: Any
) -> list[str]:
    """A convolution to `width` channels; 1x1, stride 1 and one group where nothing is said."""
    usual: dict[str, Any] = {
        "kernel_shape": POINTWISE,
        "strides": [1, 1],
        "pads": [0] * 4,
        "dilations": [1, 1],
    }
    usual |= {"group": 1, "auto_pad": "NOTSET"}
    found = attribute_faults(role, node, usual | wanted)
    shape = view.shape(node.inputs[1]) if len(node.inputs) > 1 else ()
    if not shape:
        return [*found, f"{role} has no stored weight"]
    if shape[0] != width:
        found.append(f"{role} makes {shape[0]} channels where {width} are expected")
    if len(node.inputs) > 2 and not bias:
        found.append(f"{role} has a bias where none is expected")
    if bias and len(node.inputs) < 3:
        found.append(f"{role} has no bias, which batch norm leaves behind")
    return found


def _pool_faults(role: str, node: OnnxNode, stride: int) -> list[str]:
    wanted: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [1] * 4}
    wanted |= {"dilations": [1, 1], "ceil_mode": 0, "auto_pad": "NOTSET"}
    if node.op_type == "AveragePool":
        wanted["count_include_pad"] = 0
    return attribute_faults(role, node, wanted)


def _shift_faults(view: OnnxView, role: str, node: OnnxNode) -> list[str]:
    """One row and column of zeros at the end, then all from the second row and column."""
    if node.op_type == "Pad":
        constants: tuple[list[int] | None, ...] = ([0, 0, 0, 0, 0, 0, 1, 1],)
        found = attribute_faults(role, node, {"mode": "constant"})
    elif node.op_type == "Slice":
        constants, found = ([1, 1], [END_OF_AXIS] * 2, [2, 3]), []
    else:
        return []
    held = [view.array(name) for name in node.inputs[1:]]
    values = [None if array is None else array.ravel().tolist() for array in held]
    if values != list(constants):
        found.append(f"{role} has the constants {values} where {list(constants)} are expected")
    return found


def attribute_faults(role: str, node: OnnxNode, wanted: dict[str, Any]) -> list[str]:
    """Each attribute that is not what is wanted."""
    return [
        f"{role} has {name} {node.attributes.get(name)} where {value} is expected"
        for name, value in wanted.items()
        if node.attributes.get(name) != value
    ]
