"""TensorRT 10 and 11. Never TensorRT-RTX: that is another target.

Building needs the GPU that will run the engine. Neither was run so far: there was no GPU.
"""

import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from compiler.quantise import Scheme
from datac.documents.precision import Precision
from datac.output_folder import write_beside
from exporters.gpu import Gpu
from exporters.nvidia_driver import why_no_gpu
from exporters.targets.kernels import Kernel
from exporters.targets.packages import why_not_importable
from exporters.targets.specialise import specialise
from exporters.targets.target import (
    Arrays,
    BuildOptions,
    Engine,
    Missing,
    Runner,
    TargetFailed,
    require,
    require_version,
)
from exporters.targets.tensorrt_builder import FILE, build_plan, network_flags
from exporters.targets.tensorrt_profile import kernels_of
from exporters.targets.tensorrt_refit import refit_plan
from exporters.targets.tensorrt_runner import TensorRTRunner

TITLE = "TensorRT"


class TensorRT:
    """The engine is a plan for one kind of GPU and one version of TensorRT."""

    name = "trt"
    typed: frozenset[Precision] = frozenset({"f16", "bf16", "int8"})
    int8: Scheme | None = Scheme("int8", "float32")
    embeds = True
    control: Precision = "f16"

    def missing_precision(self, precision: Precision) -> Missing | None:
        """Strongly typed, it computes in the types of its ONNX, whatever they are."""
        del precision
        return None

    def missing(self) -> Missing | None:
        """The package, or the GPU, without which TensorRT's builder ends the process."""
        wrong = why_not_importable("tensorrt", "Builder")
        if wrong is not None:
            return Missing(
                f"TensorRT {wrong}",
                "install it as NVIDIA documents (pip install 'datac[trt]' with NVIDIA's package "
                "index), then run: datac compile BUILD --target trt",
            )
        no_gpu = why_no_gpu()
        if no_gpu is not None:
            return Missing(
                f"TensorRT builds on the GPU that will run the engine, and here {no_gpu}",
                "copy the build to that machine and run there: datac compile BUILD --target trt",
            )
        return None

    def missing_to_run(self) -> Missing | None:
        """The same: what builds here runs here."""
        return self.missing()

    def build(self, model: Path, options: BuildOptions, folder: Path) -> Engine:
        """Write `engine.plan` for this machine's GPU."""
        require(self.missing())
        trt = import_module("tensorrt")
        with closing(Gpu()) as gpu:
            timings = timing_cache_file(trt.__version__, gpu.name)
            write_beside(folder / FILE, build_plan(trt, TITLE, model, options, timings))
            return _engine(trt, gpu, options)

    def refit(
        self,
        earlier: Path,
        versions: Mapping[str, str],
        model: Path,
        options: BuildOptions,
        folder: Path,
    ) -> Engine:
        """Write `engine.plan` with the weights of `model`, not built again."""
        require(self.missing())
        trt = import_module("tensorrt")
        built_with = versions.get("tensorrt", "another version")
        if built_with != trt.__version__:
            raise TargetFailed(
                f"{earlier.name} was built with {TITLE} {built_with}, and here is "
                f"{trt.__version__}; compile without --refit"
            )
        with closing(Gpu()) as gpu:
            content = specialise(model, options).SerializeToString()
            write_beside(folder / FILE, refit_plan(trt, TITLE, earlier, content))
            return _engine(trt, gpu, replace(options, refittable=True))

    def load(self, folder: Path, engine: Engine, options: BuildOptions) -> Runner:
        """Deserialise the plan on device 0."""
        require(self.missing_to_run())
        trt = import_module("tensorrt")
        require_version(TITLE, self.name, options.precision, engine, trt.__version__)
        return TensorRTRunner(trt, TITLE, folder / engine.file)

    def profile(
        self, folder: Path, engine: Engine, options: BuildOptions, inputs: Arrays, calls: int
    ) -> list[Kernel]:
        """By TensorRT's own profiler."""
        with self.load(folder, engine, options) as runner:
            assert isinstance(runner, TensorRTRunner)
            return kernels_of(*runner.time_layers(inputs, calls))


def _engine(trt: Any, gpu: Gpu, options: BuildOptions) -> Engine:
    return Engine(
        file=FILE,
        versions={"tensorrt": trt.__version__},
        device=f"cuda ({gpu.name}, compute capability {gpu.compute_capability})",
        options={
            "dynamic": options.dynamic_height_width,
            "network_flags": network_flags(trt),
            "refittable": options.refittable,
            "tf32": False,
        },
        profile=options.span if options.dynamic_height_width else None,
    )


def timing_cache_file(version: str, gpu: str) -> Path:
    """Where timings of earlier builds lie: they hold for one GPU and one version alone."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"tensorrt-{version}-{gpu}")
    return Path(base) / "datac" / f"{name}.timings"
