"""OpenVINO on the CPU, in the precision that was asked for and no other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.quantise import Scheme
from datac.documents.precision import PRECISIONS, Precision
from datac.errors import PlatformMissing
from exporters.targets.cores import available_cores
from exporters.targets.kernels import Kernel
from exporters.targets.openvino_profile import profile_model
from exporters.targets.openvino_trial import try_in_child
from exporters.targets.packages import one_line, why_not_importable
from exporters.targets.specialise import input_shape, read_model, specialise, write_model
from exporters.targets.target import (
    Array,
    Arrays,
    BuildOptions,
    Engine,
    Missing,
    Runner,
    TargetFailed,
    has_only,
    require,
    require_shape,
)

if TYPE_CHECKING:
    from types import TracebackType

FILE = "model.onnx"

CAPABILITIES: dict[Precision, str] = {"f32": "FP32", "f16": "FP16", "bf16": "BF16", "int8": "INT8"}
"""As OpenVINO calls them."""


class OpenVINO:
    """The engine is the ONNX at a fixed size, which OpenVINO reads itself and compiles on loading.

    One file, the same that ONNX Runtime gets, and no conversion whose defaults (IR files are
    written in f16) would have to be undone.
    """

    name = "openvino"
    typed: frozenset[Precision] = frozenset({"int8"})
    int8: Scheme | None = Scheme(averages=True)
    embeds = True
    control: Precision = "f32"

    def missing_precision(self, precision: Precision) -> Missing | None:
        """Instructions of the processor: OpenVINO would compute in another precision instead."""
        import openvino

        known = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        offered = [p for p in PRECISIONS if CAPABILITIES[p] in known]
        return has_only("OpenVINO", offered, precision, "this processor has no instructions for it")

    def missing(self) -> Missing | None:
        """The package."""
        wrong = why_not_importable("openvino", "Core")
        if wrong is None:
            return None
        return Missing(
            f"OpenVINO {wrong}",
            "pip install 'datac[openvino]', then run: datac compile BUILD --target openvino",
        )

    def missing_to_run(self) -> Missing | None:
        """Nothing more: it brings its CPU device."""
        return self.missing()

    def build(self, model: Path, options: BuildOptions, folder: Path) -> Engine:
        """Write `model.onnx` and let OpenVINO read it, so that an operation it lacks shows here."""
        require(self.missing())
        import openvino

        write_model(specialise(model, options), folder / FILE)
        _read(openvino.Core(), folder / FILE)
        return Engine(
            file=FILE,
            versions={"openvino": openvino.__version__},
            device="cpu",
            options={
                "dynamic": options.dynamic_height_width,
                "INFERENCE_PRECISION_HINT": hint(options.precision),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )

    def load(self, folder: Path, engine: Engine, options: BuildOptions) -> Runner:
        """Compile for the CPU and make sure that the precision is the one asked for."""
        require(self.missing_to_run())
        require(self.missing_precision(options.precision))
        if options.device != "cpu":
            raise PlatformMissing(
                "the openvino target runs on the CPU only; for an NVIDIA GPU use "
                "--target onnx or --target trt"
            )
        if options.precision == "int8":
            path = folder / engine.file
            shape = input_shape(read_model(path), options.input_shape)
            try_in_child(path, settings_of(options), shape)
        return OpenVINORunner(folder / engine.file, options)

    def profile(
        self, folder: Path, engine: Engine, options: BuildOptions, inputs: Arrays, calls: int
    ) -> list[Kernel]:
        """By the counters of the compiled model."""
        require(self.missing_to_run())
        require(self.missing_precision(options.precision))
        return profile_model(folder / engine.file, settings_of(options), inputs, calls)


class OpenVINORunner:
    """One inference request of a compiled model."""

    device = "cpu"

    def __init__(self, path: Path, options: BuildOptions) -> None:
        import openvino

        core = openvino.Core()
        model = _read(core, path)
        try:
            compiled = core.compile_model(model, "CPU", settings_of(options))
        except RuntimeError as error:
            raise TargetFailed(f"OpenVINO cannot compile {path.name}: {_reason(error)}") from error
        require_precision(compiled, hint(options.precision))
        if options.precision == "int8":
            require_integers(compiled, _quantised(path), path.name)
        self.threads: int | None = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self._file = path.name
        self._shapes: dict[str, list[int]] = {
            port.any_name: [
                -1 if size.is_dynamic else size.get_length() for size in port.partial_shape
            ]
            for port in compiled.inputs
        }
        # A port bears the names of every value that OpenVINO found to be the same; only the
        # file says which of them is the output's.
        self._names: list[str] = [output.name for output in read_model(path).graph.output]
        self._request: Any = compiled.create_infer_request()

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """All outputs by name, copied out of OpenVINO's own memory."""
        for name, shape in self._shapes.items():
            if name in inputs:
                require_shape(name, shape, inputs[name].shape, self._file)
        try:
            self._request.infer(dict(inputs))
        except RuntimeError as error:
            raise TargetFailed(f"OpenVINO broke on {self._file}: {_reason(error)}") from error
        return {name: np.array(self._request.get_tensor(name).data) for name in self._names}

    def time_call(self, inputs: Arrays) -> tuple[float, float | None]:
        """Wall time of one call; the input is read in place, as ONNX Runtime does."""
        start = time.perf_counter_ns()
        self._request.infer(inputs, share_inputs=True)
        return (time.perf_counter_ns() - start) / 1e6, None

    def __enter__(self) -> OpenVINORunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._request = None


def settings_of(options: BuildOptions) -> dict[str, Any]:
    """How a model is compiled."""
    return {
        "INFERENCE_PRECISION_HINT": hint(options.precision),
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": options.threads or available_cores(),
    }


def hint(precision: Precision) -> Precision:
    """int8 stands in the model; what is not quantised computes in float32."""
    return "f32" if precision == "int8" else precision


def require_integers(compiled: Any, wanted: int, file: str) -> None:
    """Look at what runs: OpenVINO may take a quantised convolution and compute it in float32.

    Some it does, as it sees fit; half of those `wanted` must be in int8.
    """
    operations = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    convs = [info for info in operations if info["layerType"].astype(str) == "Convolution"]
    whole = [info for info in convs if info["runtimePrecision"].astype(str) in ("u8", "i8")]
    if 2 * len(whole) < wanted:
        raise TargetFailed(
            f"OpenVINO runs {len(whole)} of the {wanted} quantised convolutions of {file} in int8"
        )


def require_precision(compiled: Any, asked: Precision) -> None:
    """Read the precision back: on CPUs with bf16 that is OpenVINO's default, whatever one hints."""
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if precision != asked:
        raise TargetFailed(
            f"OpenVINO runs this model in {precision} although {asked} was asked for; "
            "its answers cannot be judged as such, so it is not used"
        )


def _quantised(path: Path) -> int:
    """How many convolutions have integers for weights."""
    graph = read_model(path).graph
    real = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return sum(node.op_type == "Conv" and node.input[1] in real for node in graph.node)


def _read(core: Any, path: Path) -> Any:
    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise TargetFailed(f"OpenVINO refused {path.name}: {_reason(error)}") from error


def _reason(error: RuntimeError) -> str:
    """The line of OpenVINO's page that names the operation, or else its last one."""
    lines = [line.strip("- ") for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "No conversion rule" in line]
    return one_line(named[0] if named else lines[-1])
