"""The scripts of `benchmarks/` import each other by name, and these tests their made-up runs."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "benchmarks"), str(Path(__file__).parent)]
