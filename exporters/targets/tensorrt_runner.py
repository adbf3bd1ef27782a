"""A plan that runs, for TensorRT 10 and 11 and TensorRT-RTX. Not run on a GPU so far."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.gpu import Gpu
from exporters.targets.target import TargetFailed, require_shape
from exporters.targets.tensorrt_builder import error_log

if TYPE_CHECKING:
    from types import TracebackType

    from exporters.targets.target import Array, Arrays


class TensorRTRunner:
    """One execution context on a stream of its own. The caller has asked the driver before."""

    threads: int | None = None

    def __init__(self, trt: Any, title: str, path: Path) -> None:
        self._trt = trt
        self._file = path.name
        self._gpu = Gpu()
        self.device = f"cuda ({self._gpu.name})"
        log = error_log(trt)
        log.take()
        self._runtime: Any = trt.Runtime(log)
        self._engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        self._context: Any = self._engine and self._engine.create_execution_context()
        if not self._context:
            reasons = log.take()
            self._free()
            raise TargetFailed(
                f"{title} {trt.__version__} cannot load {path.name} on this GPU ({self._gpu.name}, "
                f"compute capability {self._gpu.compute_capability}): "
                f"{reasons[-1] if reasons else 'it gave no reason'}"
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        mode = self._engine.get_tensor_mode
        self._inputs = [name for name in names if mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if mode(name) == trt.TensorIOMode.OUTPUT]

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """All outputs by name, on the host."""
        ready = self._bind(inputs)
        self._upload(ready)
        self._execute()
        outputs = self._download()
        self._gpu.synchronise()
        return outputs

    def time_call(self, inputs: Arrays) -> tuple[float, float | None]:
        """(compute, transfers both ways) in milliseconds, by device events."""
        ready = self._bind(inputs)
        upload = self._gpu.time(lambda: self._upload(ready))
        compute = self._gpu.time(self._execute)
        download = self._gpu.time(self._download)
        return compute, upload + download

    def time_layers(self, inputs: Arrays, calls: int) -> tuple[str, dict[str, list[float]]]:
        """What the plan says of its layers, as JSON, and layer → milliseconds of each call.

        A warm call before is not counted.
        """
        trt, times = self._trt, dict[str, list[float]]()

        class Times(trt.IProfiler):  # type: ignore[misc, name-defined]
            """Told of every layer of a call, in the order in which they ran."""

            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                """Called by TensorRT once the call has ended."""
                times.setdefault(layer_name, []).append(ms)

        self.run(inputs)
        self._context.profiler = Times()
        for _ in range(calls):
            self.run(inputs)
        inspector = self._engine.create_engine_inspector()
        return inspector.get_engine_information(trt.LayerInformationFormat.JSON), times

    def _bind(self, inputs: Arrays) -> dict[str, Array]:
        """Set shapes and addresses; the inputs in the engine's types, each one block of memory."""
        ready: dict[str, Array] = {}
        for name in self._inputs:
            array = np.ascontiguousarray(inputs[name], dtype=self._type(name))
            expected = tuple(self._engine.get_tensor_shape(name))
            require_shape(name, expected, array.shape, self._file)
            if not self._context.set_input_shape(name, array.shape):
                raise TargetFailed(
                    f"{self._file} was built for other sizes than {name} "
                    f"{'x'.join(map(str, array.shape))}; compile it again with --input"
                )
            self._set_address(name, array.nbytes)
            ready[name] = array
        for name in self._outputs:
            size = int(np.prod(self._shape(name), dtype=np.int64))
            self._set_address(name, size * np.dtype(self._type(name)).itemsize)
        return ready

    def _upload(self, ready: Arrays) -> None:
        for name, array in ready.items():
            self._gpu.upload(self._gpu.buffer(name, array.nbytes), array)

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._gpu.stream):
            reasons = error_log(self._trt).take()
            raise TargetFailed(
                f"{self._file} did not run: {reasons[-1] if reasons else 'TensorRT gave no reason'}"
            )

    def _download(self) -> dict[str, Array]:
        outputs: dict[str, Array] = {}
        for name in self._outputs:
            outputs[name] = np.empty(self._shape(name), self._type(name))
            self._gpu.download(self._gpu.buffer(name, outputs[name].nbytes), outputs[name])
        return outputs

    def _set_address(self, name: str, size_bytes: int) -> None:
        self._context.set_tensor_address(name, self._gpu.buffer(name, size_bytes))

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

    def _type(self, name: str) -> type[np.generic]:
        kind: type[np.generic] = self._trt.nptype(self._engine.get_tensor_dtype(name))
        return kind

    def _free(self) -> None:
        # In this order: each lives in the one that comes after it.
        self._context = None
        self._engine = None
        self._runtime = None
        self._gpu.close()

    def __enter__(self) -> TensorRTRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._free()
