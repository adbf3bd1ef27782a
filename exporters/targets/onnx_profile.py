"""ONNX Runtime's own profile, laid over the nodes of the engine's file.

The runtime fuses nodes and renames values when it moves them into blocks of channels. What it calls
its kernels still leads back: a kernel bears the name of a node of the file, or of the value that it
ends in with `_nchwc` behind it, or it ends in a value of the file.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx

from exporters.onnx_file import read_onnx
from exporters.targets.kernels import Kernel, covered
from exporters.targets.target import Arrays

BLOCKED = re.compile(r"_nchwc(_\d+|_token_\d+)?$")
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


def _ends(model: onnx.ModelProto, fused: onnx.ModelProto) -> dict[str, str]:
    """Kernel → the value of the file that it ends in, where one can be told."""
    values = {name for node in model.graph.node for name in node.output}
    makers = {node.name: node.output[0] for node in model.graph.node}
    ends = {}
    for node in fused.graph.node:
        plain = BLOCKED.sub("", node.name)
        own = [name for name in node.output if name in values]
        if node.op_type in ("ReorderInput", "ReorderOutput"):
            continue  # the runtime's own; the value is some other kernel's
        if node.name in makers:
            ends[node.name] = makers[node.name]
        elif plain in values:
            ends[node.name] = _with_what_is_fused(plain, node, model)
        elif own:
            ends[node.name] = own[0]
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
