"""Files that a build carries and that need no datac: copied as they stand."""

from pathlib import Path


def runtime_source() -> bytes:
    """The text of `runtime.py`."""
    return Path(__file__).with_name("runtime.py").read_bytes()
