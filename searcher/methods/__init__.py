"""What differs between methods: how codes are sampled, how they get gradients, what is derived.

Optimisation, data, checkpoints and monitor are shared.
"""

from searcher.methods.darts import Darts
from searcher.methods.data import Data
from searcher.methods.gdas import Gdas
from searcher.methods.method import Drawing, Level, Logits, Method, Mixtures
from searcher.methods.random import Random
from searcher.methods.snas import Snas

METHODS: dict[str, type[Method]] = {
    "data": Data,
    "darts": Darts,
    "snas": Snas,
    "gdas": Gdas,
    "random": Random,
}
"""By the name that a genotype's provenance has."""

__all__ = ["METHODS", "Drawing", "Level", "Logits", "Method", "Mixtures"]
