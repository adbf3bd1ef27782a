"""An NVIDIA GPU through its driver's C interface: memory, one stream, events.

Through ctypes, because the driver is the one thing that is there wherever a GPU can be used;
every CUDA package for Python is larger than all of datac. Not run on a GPU so far: only
against a driver that the tests play.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datac.errors import PlatformMissing
from exporters.nvidia_driver import error_text, library, why_no_gpu
from exporters.targets.target import TargetFailed

NON_BLOCKING = ctypes.c_uint(1)  # CU_STREAM_NON_BLOCKING: the default stream does not wait for it
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


class Gpu:
    """Device 0, its primary context (the one that every CUDA library shares) and a stream."""

    def __init__(self) -> None:
        no_gpu = why_no_gpu()
        if no_gpu is not None:
            raise PlatformMissing(f"{no_gpu}; run this on a machine with an NVIDIA GPU")
        self._driver: Any = library()
        self._buffers: dict[str, tuple[int, int]] = {}
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._device = device
        self.name = self._read_name()
        self.compute_capability = (
            f"{self._attribute(CAPABILITY_MAJOR)}.{self._attribute(CAPABILITY_MINOR)}"
        )
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(self._stream), NON_BLOCKING)
        self._start, self._stop = self._event(), self._event()
        self._open = True

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT and ONNX Runtime take it."""
        return self._stream.value or 0

    def buffer(self, name: str, size_bytes: int) -> int:
        """The address of device memory of at least `size_bytes` that is kept under `name`."""
        address, size = self._buffers.get(name, (0, 0))
        if size >= size_bytes and address:
            return address
        if address:
            self.synchronise()
            self._call("cuMemFree_v2", ctypes.c_uint64(address))
        found = ctypes.c_uint64()
        # CUDA refuses an allocation of nothing, and TensorRT an address of nothing.
        self._call("cuMemAlloc_v2", ctypes.byref(found), ctypes.c_size_t(max(size_bytes, 1)))
        self._buffers[name] = (found.value, size_bytes)
        return found.value

    def upload(self, address: int, array: NDArray[np.generic]) -> None:
        """Copy a C-contiguous array to the device, in the stream's order."""
        if not array.flags.c_contiguous:
            raise ValueError("an array is uploaded as one block of memory")
        self._call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def download(self, address: int, array: NDArray[np.generic]) -> None:
        """Copy into `array`, in the stream's order; `synchronise` before reading it."""
        self._call(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_uint64(address),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def synchronise(self) -> None:
        """Wait until the stream is empty."""
        self._call("cuStreamSynchronize", self._stream)

    def time(self, work: Callable[[], object]) -> float:
        """Milliseconds between two device events around `work`, which works on `stream`."""
        self._call("cuEventRecord", self._start, self._stream)
        # What it returns may be the memory that a copy still writes to.
        held = work()
        self._call("cuEventRecord", self._stop, self._stream)
        self._call("cuEventSynchronize", self._stop)
        del held
        elapsed_ms = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(elapsed_ms), self._start, self._stop)
        return elapsed_ms.value

    def memory_in_use(self) -> int:
        """Bytes of the device, of every process."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value

    def close(self) -> None:
        """Give everything back. Twice does no harm."""
        if not self._open:
            return
        self._open = False
        self.synchronise()
        for address, _ in self._buffers.values():
            self._call("cuMemFree_v2", ctypes.c_uint64(address))
        self._buffers.clear()
        for event in (self._start, self._stop):
            self._call("cuEventDestroy_v2", event)
        self._call("cuStreamDestroy_v2", self._stream)
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _event(self) -> ctypes.c_void_p:
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))
        return event

    def _read_name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, ctypes.c_int(len(text)), self._device)
        return text.value.decode(errors="replace")

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), self._device)
        return value.value

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._driver, function)(*arguments)
        if status != 0:
            raise TargetFailed(f"{function} failed on the GPU ({error_text(self._driver, status)})")


def memory_in_use(device: str) -> int:
    """Bytes in use: of the GPU for a device that begins with "cuda", else of this process.

    0 where the system does not say.
    """
    if device.startswith("cuda"):
        gpu = Gpu()
        try:
            return gpu.memory_in_use()
        finally:
            gpu.close()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
