"""TensorRT-RTX: builds without a GPU, for GeForce and RTX cards from compute capability 8.0.

That an engine builds shows that it parses and compiles; it was not run so far.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from compiler.quantise import Scheme
from datac.documents.precision import Precision
from datac.output_folder import write_beside
from exporters.nvidia_driver import why_no_gpu
from exporters.targets.kernels import Kernel
from exporters.targets.packages import why_not_importable
from exporters.targets.target import (
    Arrays,
    BuildOptions,
    Engine,
    Missing,
    Runner,
    require,
    require_version,
)
from exporters.targets.tensorrt_builder import FILE, build_plan
from exporters.targets.tensorrt_profile import kernels_of
from exporters.targets.tensorrt_runner import TensorRTRunner

DEFAULT_CAPABILITIES = "default: 8.0, 8.6, 8.9, 12.0 and later"  # NVIDIA's CPU-only AOT page


class TensorRTRTX:
    """The engine is a plan that the card's own compiler finishes when it is loaded."""

    name = "trt-rtx"
    typed: frozenset[Precision] = frozenset({"f16", "bf16", "int8"})
    int8: Scheme | None = Scheme("int8", "float32")
    embeds = True
    control: Precision = "f16"

    def missing_precision(self, precision: Precision) -> Missing | None:
        """Strongly typed, it computes in the types of its ONNX, whatever they are."""
        del precision
        return None

    def missing(self) -> Missing | None:
        """The package alone: its builder needs no driver."""
        wrong = why_not_importable("tensorrt_rtx", "Builder")
        if wrong is None:
            return None
        return Missing(
            f"TensorRT-RTX {wrong}",
            "pip install 'datac[rtx]' (Linux or Windows on x86-64), then run: "
            "datac compile BUILD --target trt-rtx",
        )

    def missing_to_run(self) -> Missing | None:
        """A driver too: TensorRT's runtime may not be touched without one."""
        no_gpu = why_no_gpu()
        if self.missing() is None and no_gpu is not None:
            return Missing(
                f"a TensorRT-RTX engine cannot run here: {no_gpu}",
                "copy the build to a machine with an RTX card and run there: datac check BUILD",
            )
        return self.missing()

    def build(self, model: Path, options: BuildOptions, folder: Path) -> Engine:
        """Write `engine.plan` for the compute capabilities of the options."""
        require(self.missing())
        trt = import_module("tensorrt_rtx")
        # Its timing cache does nothing, so none is kept; a plan to be refitted it cannot build.
        asked = replace(options, refittable=False)
        write_beside(folder / FILE, build_plan(trt, "TensorRT-RTX", model, asked))
        capabilities = ", ".join(options.compute_capabilities) or DEFAULT_CAPABILITIES
        return Engine(
            file=FILE,
            versions={"tensorrt_rtx": trt.__version__},
            device=f"cuda (compute capability {capabilities})",
            options={"dynamic": options.dynamic_height_width, "tf32": False},
            profile=options.span if options.dynamic_height_width else None,
        )

    def load(self, folder: Path, engine: Engine, options: BuildOptions) -> Runner:
        """Deserialise the plan on device 0."""
        require(self.missing_to_run())
        trt = import_module("tensorrt_rtx")
        require_version("TensorRT-RTX", self.name, options.precision, engine, trt.__version__)
        return TensorRTRunner(trt, "TensorRT-RTX", folder / engine.file)

    def profile(
        self, folder: Path, engine: Engine, options: BuildOptions, inputs: Arrays, calls: int
    ) -> list[Kernel]:
        """By TensorRT's own profiler."""
        with self.load(folder, engine, options) as runner:
            assert isinstance(runner, TensorRTRunner)
            return kernels_of(*runner.time_layers(inputs, calls))
