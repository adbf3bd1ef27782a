"""Which targets this machine can build and run, and what would make it able to."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from datac import __version__
from datac.documents.diagnosis import Diagnosis, Package, Readiness
from datac.installed import installed_version
from exporters.nvidia_driver import why_no_gpu
from exporters.targets import TARGETS, resolve
from exporters.targets.cores import available_cores

OWN_PACKAGES = ("datac", "compiler", "searcher", "exporters")

# Distribution names, by the extra that installs them; None is what datac always needs.
DISTRIBUTIONS: dict[str, str | None] = {
    "numpy": None,
    "onnx": None,
    "torch": "search",
    "lightning": "search",
    "torchmetrics": "search",
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
    problems = (*installation_problems(origins), *package_problems(found))
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
