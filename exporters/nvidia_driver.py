"""Whether an NVIDIA driver answers, asked of the driver itself.

Nothing else will do: package lists name CUDA where there is no GPU, and TensorRT's runtime
ends the process with a segmentation fault where there is no driver.
"""

import ctypes
import sys
from functools import cache
from typing import Any


@cache
def library() -> Any:
    """The driver's library (libcuda), or None."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


@cache
def why_no_gpu() -> str | None:
    """None where a driver answers and has a GPU; else why not, as a clause."""
    driver = library()
    if driver is None:
        return "no NVIDIA driver is installed"
    status = driver.cuInit(ctypes.c_uint(0))
    if status != 0:
        return f"the NVIDIA driver does not start ({error_text(driver, status)})"
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        return "the NVIDIA driver sees no GPU"
    return None


def cuda_version() -> tuple[int, int] | None:
    """The newest CUDA that the driver can run, e.g. (13, 0); None without a driver."""
    driver, version = library(), ctypes.c_int(0)
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def error_text(driver: Any, status: int) -> str:
    """What the driver says about a status of its own."""
    text = ctypes.c_char_p()
    if driver.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text)) != 0 or not text.value:
        return f"CUDA error {status}"
    return f"CUDA error {status}: {text.value.decode(errors='replace')}"
