"""What differs between methods: how codes are sampled, how they get gradients, what is derived.

Optimisation, data, checkpoints and monitor are shared.
"""

from collections.abc import Callable

from datac.documents.genotype import Aggregation
from searcher.gumbel import Layout
from searcher.methods.data import Data
from searcher.methods.method import Logits, Method

METHODS: dict[str, Callable[[Layout, int, Aggregation], Method]] = {"data": Data}
"""By the name that a genotype's provenance has."""

__all__ = ["METHODS", "Data", "Logits", "Method"]
