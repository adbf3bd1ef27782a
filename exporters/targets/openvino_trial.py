"""A model, compiled and run once by OpenVINO in a process of its own.

On some quantised graphs OpenVINO does not raise but ends the process (a segmentation fault, seen
with 2026.4). So what is quantised is tried here first: `python -P -m
exporters.targets.openvino_trial MODEL KEY=VALUE,... SHAPE`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporters.targets.packages import one_line
from exporters.targets.target import TargetFailed

LONGEST_SECONDS = 600


def try_in_child(path: Path, settings: Mapping[str, object], shape: Sequence[int]) -> None:
    """TargetFailed where the process of the trial does not end well."""
    arguments = [str(path), ",".join(f"{k}={v}" for k, v in settings.items())]
    # -P: nothing of the current folder is imported, which may be a build from anywhere.
    command = [sys.executable, "-P", "-m", __name__, *arguments, "x".join(map(str, shape))]
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        trial = subprocess.run(
            command,
            capture_output=True,
            timeout=LONGEST_SECONDS,
            check=False,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired as error:
        raise TargetFailed(
            f"OpenVINO was not done with {path.name} after {LONGEST_SECONDS} s"
        ) from error
    if trial.returncode == 0:
        return
    if trial.returncode < 0:
        name = signal.Signals(-trial.returncode).name
        raise TargetFailed(f"OpenVINO ends the process with {name} when it compiles {path.name}")
    lines = [line for line in trial.stderr.splitlines() if line.strip()] or ["no reason given"]
    raise TargetFailed(f"OpenVINO cannot run {path.name}: {one_line(RuntimeError(lines[-1]))}")


def main(path: str, settings: str, shape: str) -> None:
    """Compile, and run on zeros."""
    import numpy as np
    from openvino import Core

    core = Core()
    held = dict(pair.split("=", 1) for pair in settings.split(","))
    compiled = core.compile_model(core.read_model(path), "CPU", held)
    kind = compiled.input(0).get_element_type().to_dtype()
    x = np.zeros([int(size) for size in shape.split("x")], kind)
    compiled.create_infer_request().infer([x])


if __name__ == "__main__":
    main(*sys.argv[1:])
