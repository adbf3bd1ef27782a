"""Files that a build carries and that need no datac: copied as they stand."""

from pathlib import Path

RUNTIME_SOURCE = Path(__file__).with_name("runtime.py").read_bytes
"""The text of `runtime.py`, read when it is asked for."""
