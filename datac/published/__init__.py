"""Published cells, one JSON file each, with where it comes from in its provenance."""

from importlib.resources import files

from datac.documents.genotype import Genotype
from datac.errors import BadInput

NAMES = (
    "data-m4",
    "data-m7",
    "data-m4-repo",
    "data-m7-repo",
    "darts-v1",
    "darts-v2",
    "darts-top3",
    "darts-top4",
    "snas-mild",
    "gdas-v1",
    "pc-darts",
    "nasnet-a",
    "amoebanet-a",
)
"""`data-m4` and `data-m7` are the NeurIPS poster's cells, the `-repo` ones those of the code."""


def load(name: str) -> Genotype:
    """The published genotype of that name."""
    if name not in NAMES:
        raise BadInput(f"{name}: not a published cell; published are {', '.join(NAMES)}")
    return Genotype.model_validate_json((files(__name__) / f"{name}.json").read_bytes())
