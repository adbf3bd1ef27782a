"""ONNX Runtime's own profile, laid over the nodes of the engine's file.

The runtime fuses nodes and renames values when it moves them into another layout or type. What it
calls its kernels still leads back: a kernel bears the name of a node of the file, or of the value
that it ends in with the runtime's own words around it, or it ends in a value of the file.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx

from exporters.onnx_file import read_onnx
from exporters.targets.kernels import Kernel, covered
from exporters.targets.target import Arrays

ADDED = re.compile(r"^InsertedPrecisionFreeCast_|(_nchwc(_\d+)?)?(_token_\d+)?$")
"""Around a name: f16 that it computes in float32, blocks of channels, other layouts."""
COPIED = re.compile(r"/duplicated$|_d?q$")
"""Behind a name of ours: a second DequantizeLinear, or one of the pair that it has moved."""
OF_THE_RUNTIME = ("ReorderInput", "ReorderOutput", "Transpose", "Cast")
"""Kernels that change layout or type, where they are not in the file."""
TIME = "_kernel_time"


def profile_session(path: Path, threads: int, inputs: Arrays, calls: int) -> list[Kernel]:
    """Load the file once more with the profile on, and call it `calls` times after a warm call."""
    from exporters.targets.onnx import open_session

    with tempfile.TemporaryDirectory(prefix="datac-profile-") as name:
        folder = Path(name)
        optimised = folder / "optimised.onnx"
        session = open_session(
            path,
            ["CPUExecutionProvider"],
            {},
            threads=threads,
            title="ONNX Runtime",
            settings={
                "enable_profiling": True,
                "profile_file_prefix": str(folder / "profile"),
                "optimized_model_filepath": str(optimised),
            },
        )
        for _ in range(calls + 1):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
        fused = onnx.load(optimised)  # of our own making a moment ago
    times = _times(events, calls)
    _name_the_nameless(fused, times)
    ends = _ends(read_onnx(path), fused)
    covers = covered(read_onnx(path), ends)
    return [
        Kernel(node.name, node.op_type, covers.get(node.name, frozenset()), times[node.name])
        for node in fused.graph.node
        if node.name in times
    ]


def _times(events: list[dict[str, Any]], calls: int) -> dict[str, tuple[float, ...]]:
    """Kernel → milliseconds of each call, the warm one left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(TIME):
            found[event["name"].removesuffix(TIME)].append(event["dur"] / 1e3)
    return {name: tuple(times[-calls:]) for name, times in found.items()}


def _name_the_nameless(fused: onnx.ModelProto, times: Iterable[str]) -> None:
    """As the profile does, by operation and number: in the order in which they run.

    Where there are more or fewer of an operation, none of it is: it counts as the runtime's own.
    """
    named = {node.name for node in fused.graph.node}
    given = defaultdict[str, list[str]](list)
    for name in times:
        op_type, _, number = name.rpartition("_")
        if number.isdigit() and name not in named:
            given[op_type].append(name)
    nameless = Counter(node.op_type for node in fused.graph.node if not node.name)
    for node in fused.graph.node:
        if not node.name and len(given[node.op_type]) == nameless[node.op_type]:
            nameless[node.op_type] -= 1
            node.name = given[node.op_type].pop(0)


def _ends(model: onnx.ModelProto, fused: onnx.ModelProto) -> dict[str, str]:
    """Kernel → the value of the file that it ends in, where one can be told."""
    values = {name for node in model.graph.node for name in node.output}
    makers = {node.name: node.output[0] for node in model.graph.node}
    ends = {}
    for node in fused.graph.node:
        if node.name in makers:
            ends[node.name] = makers[node.name]
            continue
        if node.op_type in OF_THE_RUNTIME:
            continue  # the value is some other kernel's
        plain = ADDED.sub("", node.name)
        names = (plain, COPIED.sub("", plain), *(ADDED.sub("", name) for name in node.output))
        value = next((name for name in names if name in values), None)
        if value is not None:
            ends[node.name] = _with_what_is_fused(value, node, model)
    return ends


def _with_what_is_fused(value: str, kernel: onnx.NodeProto, model: onnx.ModelProto) -> str:
    """A blocked convolution keeps its name when it takes in the addition behind it, and a ReLU.

    Its fourth operand is what it adds to, its attribute `activation` the ReLU.
    """
    behind = []
    if len(kernel.input) > 3:
        behind.append("Add")
    if any(attribute.name == "activation" for attribute in kernel.attribute):
        behind.append("Relu")
    for op_type in behind:
        maker = next(node for node in model.graph.node if value in node.output)
        readers = [node for node in model.graph.node if value in node.input]
        fits = len(readers) == 1 and readers[0].op_type == op_type != maker.op_type
        value = readers[0].output[0] if fits else value
    return value
