"""What a benchmark measures time with, and how it sums it up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds. Of one thread processor time: what is left of wall time on a quiet machine."""
    if device.type == "cuda":

        def when_done() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return when_done
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First, median, third."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
