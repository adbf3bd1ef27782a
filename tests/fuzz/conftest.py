"""How long to fuzz: some examples of each reader in the suite, minutes of each where asked for.

    DATAC_FUZZ_EXAMPLES=20000 python -m pytest tests/fuzz

The derandomised profile makes the suite's own run the same each time; a long run draws afresh.
"""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = os.environ.get("DATAC_FUZZ_EXAMPLES")

settings.register_profile(
    "fuzz",
    max_examples=int(EXAMPLES or 40),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
