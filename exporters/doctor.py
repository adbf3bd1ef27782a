"""Which targets this machine can build and run, and what would make it able to."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from datac import __version__
from datac.documents.diagnosis import Diagnosis, Package, Readiness
from datac.installed import installed_version
from exporters.nvidia_driver import cuda_version, why_no_gpu
from exporters.targets import TARGETS, resolve
from exporters.targets.cores import available_cores
from exporters.targets.packages import why_not_importable

OWN_PACKAGES = ("datac", "compiler", "searcher", "exporters")

# Distribution names, by the extra that installs them; None is what datac always needs.
DISTRIBUTIONS: dict[str, str | None] = {
    "numpy": None,
    "onnx": None,
    "torch": "search",
    "lightning-fabric": "search",
    "kornia": "search",
    "onnxruntime": "cpu",
    "onnxruntime-gpu": "gpu",
    "openvino": "openvino",
    "tensorrt": "trt",
    "tensorrt-rtx": "rtx",
}


def doctor() -> Diagnosis:
    """Examine this machine. Imports the packages of the targets, but never torch."""
    packages = tuple(
        Package(name=name, version=installed_version(name), extra=extra)
        for name, extra in DISTRIBUTIONS.items()
    )
    origins = {name: origin_of(name) for name in OWN_PACKAGES}
    found = {package.name: package.version for package in packages}
    problems = (
        *installation_problems(origins),
        *package_problems(found),
        *damaged_packages(found),
        *driver_problems(found, cuda_version()),
    )
    no_gpu = why_no_gpu()
    return Diagnosis(
        datac=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cores=available_cores(),
        gpu=no_gpu or "an NVIDIA driver answers",
        installation=str(origins["datac"]),
        packages=packages,
        targets=tuple(readiness(name) for name in TARGETS),
        problems=problems,
    )


def readiness(name: str) -> Readiness:
    """What the target of this name says about building and running here."""
    target = resolve(name)
    to_build, to_run = target.missing(), target.missing_to_run()
    return Readiness(
        target=name,
        can_build=to_build is None,
        can_run=to_run is None,
        to_build=None if to_build is None else str(to_build),
        to_run=None if to_run is None else str(to_run),
    )


def origin_of(package: str) -> Path | None:
    """The folder that a package would be imported from, without importing it."""
    spec = find_spec(package)
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(locations[0]).resolve().parent if locations else None


def installation_problems(origins: Mapping[str, Path | None]) -> tuple[str, ...]:
    """A sentence for each of datac's packages that comes from elsewhere than `datac` does.

    `compiler` is no rare name: another package, or a folder where Python was started, may hide
    ours.
    """
    home = origins["datac"]
    again = "reinstall datac (pip install --force-reinstall --no-deps datac)"
    return tuple(
        f"the package {name} is not installed beside datac ({home}); {again}"
        if origin is None
        else f"the package {name} comes from {origin}{os.sep}{name} and not from {home}, where "
        f"datac is; remove or rename the other one, or {again}"
        for name, origin in origins.items()
        if origin != home
    )


def package_problems(versions: Mapping[str, str | None]) -> tuple[str, ...]:
    """Packages that are there but cannot work together."""
    if versions.get("onnxruntime") and versions.get("onnxruntime-gpu"):
        return (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files; "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'datac[cpu]' or "
            "'datac[gpu]'",
        )
    return ()


MODULES = {
    "onnxruntime": "onnxruntime",
    "onnxruntime-gpu": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
}
"""Distribution → the module that it installs."""


def damaged_packages(versions: Mapping[str, str | None]) -> tuple[str, ...]:
    """Packages that pip lists and Python does not find, or finds empty.

    Two installations into one environment, or the removal of one of two packages that share a
    folder, leave this behind; so does a stub whose libraries were never fetched.
    """
    listed = [name for name in MODULES if versions.get(name)]
    return tuple(
        f"pip lists {name} {versions[name]}, but Python does not load {MODULES[name]}, or without "
        f"its content; pip install --force-reinstall --no-deps {name}=={versions[name]}"
        for name in listed
        if why_not_importable(MODULES[name], CONTENT[MODULES[name]]) is not None
    )


CONTENT = {
    "onnxruntime": "InferenceSession",
    "openvino": "Core",
    "tensorrt": "Builder",
    "tensorrt_rtx": "Builder",
}
"""Module → what it has where it is whole."""

CUDA_OF = {"onnxruntime-gpu": (1, 27)}
"""Distribution → its first version that is built for CUDA 13."""

CUDA_LIBRARIES = {"libcublasLt.so.13": "nvidia-cublas", "libcudnn.so.9": "nvidia-cudnn-cu13"}
"""What ONNX Runtime's CUDA provider loads → the package that brings it."""


def driver_problems(
    versions: Mapping[str, str | None], cuda: tuple[int, int] | None
) -> tuple[str, ...]:
    """What makes ONNX Runtime fall back to the CPU without a word, on a machine with a GPU."""
    version = versions.get("onnxruntime-gpu")
    if version is None or cuda is None or not _is_at_least(version, CUDA_OF["onnxruntime-gpu"]):
        return ()
    if cuda < (13, 0):
        return (
            f"the NVIDIA driver runs CUDA up to {cuda[0]}.{cuda[1]}, and onnxruntime-gpu {version} "
            "is built for CUDA 13, so it would run on the CPU; update the driver to 580 or later, "
            "or pip install 'onnxruntime-gpu<1.27'",
        )
    return tuple(
        f"onnxruntime-gpu {version} needs {library}, which is not found, so it would run on the "
        f"CPU; pip install {package}"
        for library, package in CUDA_LIBRARIES.items()
        if not (versions.get(package) or installed_version(package) or _loads(library))
    )


def _is_at_least(version: str, least: tuple[int, int]) -> bool:
    numbers = re.findall(r"\d+", version)[:2]
    return tuple(map(int, numbers)) >= least


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
