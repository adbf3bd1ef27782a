"""How many cores a runtime may use, so that a latency always states its threads."""

import os


def available_cores() -> int:
    """The cores this process may run on (an affinity mask counts; a container's quota does not)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
