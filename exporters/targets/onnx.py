"""ONNX Runtime, on the CPU or on an NVIDIA GPU; never silently on the other one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.quantise import Scheme
from datac.documents.precision import Precision
from datac.errors import PlatformMissing
from exporters.nvidia_driver import why_no_gpu
from exporters.targets.cores import available_cores
from exporters.targets.kernels import Kernel
from exporters.targets.onnx_profile import profile_session
from exporters.targets.packages import one_line, why_not_importable
from exporters.targets.specialise import specialise, write_model
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


class OnnxRuntime:
    """The engine is its own model as an ONNX file; ONNX Runtime optimises it on loading."""

    name = "onnx"
    typed: frozenset[Precision] = frozenset({"f16", "int8"})
    int8: Scheme | None = Scheme()
    embeds = True
    control: Precision = "f32"

    def missing_precision(self, precision: Precision) -> Missing | None:
        """Of float16 it rounds what it stores; a CPU provider computes in float32 between."""
        return has_only(
            "ONNX Runtime",
            ("f32", "f16", "int8"),
            precision,
            "its convolutions do not take bfloat16",
        )

    def missing(self) -> Missing | None:
        """The package; a file could be written without it, but nobody would have tried it."""
        wrong = why_not_importable("onnxruntime", "InferenceSession")
        if wrong is None:
            return None
        how = "pip install 'datac[cpu]' (or 'datac[gpu]' for CUDA, never both)"
        if "damaged" in wrong:
            how = f"pip uninstall -y onnxruntime onnxruntime-gpu, then {how}"
        return Missing(
            f"ONNX Runtime {wrong}", f"{how}, then run: datac compile BUILD --target onnx"
        )

    def missing_to_run(self) -> Missing | None:
        """On the CPU nothing more; what CUDA lacks is said when it is asked for."""
        return self.missing()

    def missing_cuda(self) -> Missing | None:
        """A GPU, and the package that can use it."""
        import onnxruntime

        no_gpu = why_no_gpu()
        if no_gpu is not None:
            return Missing(
                f"ONNX Runtime cannot run on CUDA here: {no_gpu}",
                "use --device cpu, or a machine with an NVIDIA GPU",
            )
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return Missing(
                "the onnxruntime package here is the one for the CPU",
                "pip uninstall -y onnxruntime, then pip install 'datac[gpu]'",
            )
        return None

    def build(self, model: Path, options: BuildOptions, folder: Path) -> Engine:
        """Write `model.onnx` at the fixed size, or open in it."""
        require(self.missing())
        import onnxruntime

        write_model(specialise(model, options), folder / FILE)
        return Engine(
            file=FILE,
            versions={"onnxruntime": onnxruntime.__version__},
            device=options.device,
            options={"dynamic": options.dynamic_height_width},
        )

    def load(self, folder: Path, engine: Engine, options: BuildOptions) -> Runner:
        """A session on `options.device`; `PlatformMissing` if that device does not answer."""
        require(self.missing_to_run())
        path = folder / engine.file
        if options.device == "cuda":
            require(self.missing_cuda())
            from exporters.targets.onnx_cuda import CudaRunner

            return CudaRunner(path, fixed_size=not options.dynamic_height_width)
        return CpuRunner(path, options.threads or available_cores())

    def profile(
        self, folder: Path, engine: Engine, options: BuildOptions, inputs: Arrays, calls: int
    ) -> list[Kernel]:
        """On the CPU, by the session's own profile."""
        require(self.missing_to_run())
        return profile_session(
            folder / engine.file, options.threads or available_cores(), inputs, calls
        )


class CpuRunner:
    """A session on the CPU provider."""

    device = "cpu"

    def __init__(self, path: Path, threads: int) -> None:
        self.threads: int | None = threads
        self._file = path.name
        self._session: Any = open_session(
            path, ["CPUExecutionProvider"], {}, threads=threads, title="ONNX Runtime"
        )

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """All outputs by name."""
        require_session_shapes(self._session, inputs, self._file)
        names = [output.name for output in self._session.get_outputs()]
        try:
            answers = self._session.run(names, dict(inputs))
        except runtime_errors() as error:
            raise TargetFailed(f"ONNX Runtime broke on {self._file}: {one_line(error)}") from error
        return dict(zip(names, answers, strict=True))

    def time_call(self, inputs: Arrays) -> tuple[float, float | None]:
        """Wall time of one call."""
        start = time.perf_counter_ns()
        self._session.run(None, inputs)
        return (time.perf_counter_ns() - start) / 1e6, None

    def __enter__(self) -> CpuRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session = None


def open_session(
    path: Path,
    providers: list[Any],
    entries: dict[str, str],
    *,
    threads: int | None,
    title: str,
    settings: Mapping[str, object] | None = None,
) -> Any:
    """A session whose first provider is the one asked for.

    ONNX Runtime does not raise when a provider fails to load: it prints, and runs on the CPU.
    settings: further attributes of `SessionOptions`.
    """
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 3
    if threads is not None:
        chosen.intra_op_num_threads = threads
    for key, value in entries.items():
        chosen.add_session_config_entry(key, value)
    for name, setting in (settings or {}).items():
        setattr(chosen, name, setting)
    try:
        session = onnxruntime.InferenceSession(str(path), chosen, providers=providers)
    except runtime_errors() as error:
        raise TargetFailed(f"{title} refused {path.name}: {one_line(error)}") from error
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if session.get_providers()[0] != wanted:
        raise PlatformMissing(
            f"{title} fell back from {wanted} to {session.get_providers()[0]}; "
            "datac doctor says what is missing"
        )
    return session


def runtime_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions, which share no base class but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [value for value in vars(state).values() if isinstance(value, type)]
    return tuple(value for value in found if issubclass(value, Exception))


def require_session_shapes(session: Any, inputs: Arrays, file: str) -> None:
    """Refuse inputs of another size in datac's words, before the runtime does it in its own."""
    for expected in session.get_inputs():
        if expected.name not in inputs:
            raise TargetFailed(f"{file} asks for an input {expected.name}, which no network has")
        require_shape(expected.name, expected.shape, inputs[expected.name].shape, file)
