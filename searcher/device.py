"""Where a run computes: Lightning Fabric on one device, and never silently on another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from datac.errors import PlatformMissing

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed"]
"""As Fabric calls them: float32, or bfloat16 where autocast finds it safe."""


def fabric_on(device: Device, precision: Precision = "32-true") -> Fabric:
    """Fabric on the CPU or the first GPU; `auto` is the GPU where there is one.

    Raises PlatformMissing where a GPU was asked for and torch sees none.
    """
    from lightning.fabric import Fabric

    if device == "cuda" and not torch.cuda.is_available():
        raise PlatformMissing(f"--device cuda: {_why_no_gpu()}, or give --device cpu")
    gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return Fabric(accelerator="cuda" if gpu else "cpu", devices=1, precision=precision)


def describe_device(device: torch.device) -> str:
    """`cuda (NVIDIA H100)`, or `cpu (2 threads)`."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads > 1 else ''})"


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Torch computes on so many threads of the CPU; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _why_no_gpu() -> str:
    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) is built without CUDA; install one that has it"
    return "torch sees no CUDA device here; install the GPU's driver"
