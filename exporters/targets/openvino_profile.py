"""OpenVINO's own profile, laid over the nodes of the engine's file.

Its runtime model says of every kernel which layers of the file went into it, by their names.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from exporters.onnx_file import read_onnx
from exporters.targets.kernels import Kernel
from exporters.targets.target import Arrays, TargetFailed

ORIGIN = "originalLayersNames"


def profile_model(path: Path, settings: dict[str, Any], inputs: Arrays, calls: int) -> list[Kernel]:
    """Compile the file once more with counters on, and call it `calls` times after a warm call."""
    import openvino

    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(path), "CPU", settings | {"PERF_COUNT": True})
        request = compiled.create_infer_request()
        times: dict[str, list[float]] = defaultdict(list)
        kinds: dict[str, str] = {}
        for call in range(calls + 1):
            request.infer(dict(inputs))
            for info in request.get_profiling_info():
                if call and "EXECUTED" in str(info.status):
                    times[info.node_name].append(info.real_time.total_seconds() * 1e3)
                    kinds[info.node_name] = f"{info.node_type} {info.exec_type}"
    except RuntimeError as error:
        raise TargetFailed(f"OpenVINO cannot profile {path.name}: {error}") from error
    names = {node.name for node in read_onnx(path).graph.node}
    layers = _layers(compiled, names)
    return [
        Kernel(name, kinds[name], layers.get(name, frozenset()), tuple(taken))
        for name, taken in times.items()
    ]


def _layers(compiled: Any, names: set[str]) -> dict[str, frozenset[str]]:
    """Kernel → the nodes of the file in it."""
    found = {}
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        if ORIGIN in info:
            layers = info[ORIGIN].astype(str).split(",")
            found[op.get_friendly_name()] = frozenset(_known(layers, names))
    return found


def _known(layers: list[str], names: set[str]) -> set[str]:
    """The nodes that layers stand for; OpenVINO may add a last segment (`/WithoutBiases`)."""
    found = {layer for layer in layers if layer in names}
    parents = {layer.rpartition("/")[0] for layer in layers if layer not in names}
    return found | (parents & names)
