"""Where numbers come from: machine, Python, packages, date."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

from datac.documents.environment import Environment
from datac.installed import installed_version
from exporters.targets.cores import available_cores

PACKAGES = (
    "datac",
    "torch",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
)


def environment() -> Environment:
    """As of now; packages that are not installed are left out."""
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=available_cores(),
        packages={name: version for name in PACKAGES if (version := installed_version(name))},
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def cpuinfo(field: str) -> list[str] | None:
    """What Linux says of each processor there; None where there is no Linux to say it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return [line.partition(":")[2].strip() for line in lines if line.startswith(field)]


def _processor() -> str:
    names = cpuinfo("model name")
    if names is None:
        return platform.processor() or platform.machine()
    return names[0] if names else platform.machine()
