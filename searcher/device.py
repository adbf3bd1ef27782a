"""Where a run computes: Lightning Fabric, and never silently on another device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from datac.documents.sentences import counted
from datac.errors import PlatformMissing
from datac.torchrun import ALONE, Place

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed"]
"""As Fabric calls them: float32, or bfloat16 where autocast finds it safe."""


def fabric_on(device: Device, precision: Precision = "32-true", place: Place = ALONE) -> Fabric:
    """Fabric on the CPU or a GPU, the first or that of `place`; `auto` is a GPU where there is one.

    Raises PlatformMissing where a GPU was asked for and torch sees none, or too few.
    """
    from lightning_fabric import Fabric

    if device == "cuda" and not torch.cuda.is_available():
        raise PlatformMissing(f"--device cuda: {_why_no_gpu()}, or give --device cpu")
    gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if place.size > 1:
        return _fabric_of_many("cuda" if gpu else "cpu", precision, place)
    return Fabric(accelerator="cuda" if gpu else "cpu", devices=1, precision=precision)


def _fabric_of_many(
    accelerator: Literal["cpu", "cuda"], precision: Precision, place: Place
) -> Fabric:
    """For one of several processes; of the strategy only its process group serves us."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    if accelerator == "cuda" and torch.cuda.device_count() < place.local_size:
        raise PlatformMissing(
            f"{place.local_size} processes need a GPU each, and this machine has "
            f"{torch.cuda.device_count()}; start fewer, or give --device cpu"
        )
    return Fabric(
        accelerator=accelerator,
        devices=place.local_size,
        num_nodes=place.size // place.local_size,
        # The logits are on the host, so what is exchanged of them never waits for a GPU.
        strategy=DDPStrategy(
            process_group_backend="gloo" if accelerator == "cpu" else "cpu:gloo,cuda:nccl"
        ),
        plugins=[TorchElasticEnvironment()],
        precision=precision,
    )


def describe_device(device: torch.device, processes: int = 1) -> str:
    """`cuda (NVIDIA H100)`, `cpu (2 threads)`, or `4 x cpu (1 thread)`."""
    many = "" if processes == 1 else f"{processes} x "
    if device.type == "cuda":
        return f"{many}cuda ({torch.cuda.get_device_name(device)})"
    return f"{many}{device.type} ({counted(torch.get_num_threads(), 'thread')})"


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
