"""ONNX Runtime's CUDA provider, timed by device events. Written from its documentation: not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.gpu import Gpu
from exporters.targets.onnx import open_session, require_session_shapes

if TYPE_CHECKING:
    from types import TracebackType

    from exporters.targets.target import Array, Arrays

TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class CudaRunner:
    """A session on the CUDA provider alone, working on our stream, so that our events see it."""

    threads: int | None = None

    def __init__(self, path: Path, *, fixed_size: bool) -> None:
        self._gpu = Gpu()
        _preload()
        self.device = f"cuda ({self._gpu.name})"
        self._file = path.name
        self._session: Any = None
        settings = {
            "device_id": "0",
            "use_tf32": "0",  # f32 means f32: TF32 keeps 10 bits of the mantissa
            "user_compute_stream": str(self._gpu.stream),
        }
        try:
            self._session = open_session(
                path,
                [("CUDAExecutionProvider", settings)],
                # At open sizes the arithmetic on shapes belongs on the CPU: not to be forbidden.
                {"session.disable_cpu_ep_fallback": "1"} if fixed_size else {},
                threads=None,
                title="ONNX Runtime with CUDA",
            )
        except BaseException:
            self._gpu.close()
            raise
        self._binding: Any = self._session.io_binding()
        self._types = {output.name: TYPES[output.type] for output in self._session.get_outputs()}

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """All outputs by name, on the host."""
        self._bind(inputs)
        self._upload(inputs)
        self._session.run_with_iobinding(self._binding)
        outputs = self._download()
        self._gpu.synchronise()
        return outputs

    def time_call(self, inputs: Arrays) -> tuple[float, float | None]:
        """(compute, transfers both ways) in milliseconds, by device events."""
        self._bind(inputs)
        upload = self._gpu.time(lambda: self._upload(inputs))
        compute = self._gpu.time(lambda: self._session.run_with_iobinding(self._binding))
        download = self._gpu.time(self._download)
        return compute, upload + download

    def _bind(self, inputs: Arrays) -> None:
        require_session_shapes(self._session, inputs, self._file)
        for name, array in inputs.items():
            address = self._gpu.buffer(name, array.nbytes)
            self._binding.bind_input(name, "cuda", 0, array.dtype.type, array.shape, address)
        for name in self._types:
            self._binding.bind_output(name, "cuda", 0)

    def _upload(self, inputs: Arrays) -> None:
        for name, array in inputs.items():
            self._gpu.upload(self._gpu.buffer(name, array.nbytes), array)

    def _download(self) -> dict[str, Array]:
        outputs: dict[str, Array] = {}
        pairs = zip(self._types.items(), self._binding.get_outputs(), strict=True)
        for (name, kind), value in pairs:
            outputs[name] = np.empty(value.shape(), kind)
            self._gpu.download(value.data_ptr(), outputs[name])
        return outputs

    def __enter__(self) -> CudaRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._binding = None
        self._session = None
        self._gpu.close()


def _preload() -> None:
    """CUDA's libraries out of pip's packages, where the loader of the system does not look."""
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        preload()
