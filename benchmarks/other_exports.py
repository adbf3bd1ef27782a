"""Other ways from `model.py` to something that runs: exporters, simplifiers, `torch.compile`."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXPORTS: dict[str, dict[str, Any]] = {
    "dynamo": {"dynamo": True},
    "dynamo, opset 18": {"dynamo": True, "opset_version": 18},
    "torchscript, opset 18": {"dynamo": False, "opset_version": 18},
}


@dataclass
class Made:
    """The ONNX files of one net, and how long each took to write."""

    files: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def export_all(build: Path, shape: tuple[int, ...], folder: Path, *, dynamic: bool) -> Made:
    """The files of the other exporters, alone and simplified."""
    made = Made()
    for title, settings in EXPORTS.items():
        print(f"export {title}", file=sys.stderr, flush=True)
        path = folder / f"{len(made.files)}.onnx"
        begin = time.perf_counter()
        _torch_export(build, shape, path, settings, dynamic=dynamic)
        made.seconds[title], made.files[title] = time.perf_counter() - begin, path
    for title, path in list(made.files.items()):
        for tool in ("onnxslim", "onnxsim"):
            simplified = path.with_name(f"{path.stem}-{tool}.onnx")
            if importlib.util.find_spec(tool) is None:
                continue
            begin = time.perf_counter()
            if _simplify(tool, path, simplified):
                name = f"{title}, {tool}"
                made.seconds[name] = made.seconds[title] + time.perf_counter() - begin
                made.files[name] = simplified
        saved = path.with_name(f"{path.stem}-ort.onnx")
        _save_optimised(path, saved)
        made.files[f"{title}, saved by ONNX Runtime"] = saved
    return made


def _torch_export(
    build: Path, shape: tuple[int, ...], out: Path, settings: dict[str, Any], *, dynamic: bool
) -> None:
    import torch

    source: dict[str, Any] = {"__name__": "model"}
    exec(compile((build / "model.py").read_text(), "model.py", "exec"), source)
    network = source["load"](build / "weights.safetensors")
    names: dict[str, Any] = {"input_names": ["input"], "output_names": ["logits"]}
    if settings["dynamo"]:
        names |= {"external_data": False, "verbose": False}
        if dynamic:
            sizes = {2: torch.export.Dim("H", min=32), 3: torch.export.Dim("W", min=32)}
            names["dynamic_shapes"] = (sizes,)
    elif dynamic:
        names["dynamic_axes"] = {"input": {2: "H", 3: "W"}, "logits": {2: "H", 3: "W"}}
    torch.onnx.export(network, (torch.zeros(shape),), str(out), **settings, **names)


def _simplify(tool: str, path: Path, out: Path) -> bool:
    import onnx

    if tool == "onnxslim":
        import onnxslim

        with contextlib.redirect_stdout(io.StringIO()):  # it prints a table
            onnxslim.slim(str(path), str(out))
        return True
    import onnxsim

    model, right = onnxsim.simplify(onnx.load(path))
    onnx.save(model, out)
    return bool(right)


def _save_optimised(path: Path, out: Path) -> None:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    # Above `extended` a file holds kernels of this machine, and no other runtime reads it.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


class Compiled:
    """`torch.compile` with frozen weights, as a runner."""

    def __init__(self, build: Path, threads: int) -> None:
        import torch
        import torch._inductor.config as inductor

        inductor.freezing = True
        torch.set_num_threads(threads)
        source: dict[str, Any] = {"__name__": "model"}
        exec(compile((build / "model.py").read_text(), "model.py", "exec"), source)
        self._torch = torch
        self._network = torch.compile(source["load"](build / "weights.safetensors").eval())
        self.device, self.threads = "cpu", threads

    def run(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The logits."""
        with self._torch.inference_mode():
            result = self._network(self._torch.from_numpy(inputs["input"]))
        return {"logits": result.numpy()}

    def time_call(self, inputs: dict[str, NDArray[np.float32]]) -> tuple[float, None]:
        """Wall time of one call."""
        begin = time.perf_counter_ns()
        self.run(inputs)
        return (time.perf_counter_ns() - begin) / 1e6, None
