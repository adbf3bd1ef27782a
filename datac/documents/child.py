"""The folder of a trained child, as those read it that go on with its weights."""

from __future__ import annotations

from pathlib import Path

from datac.documents.build_folder import GENOTYPE
from datac.documents.genotype import Genotype
from datac.documents.read import read_json
from datac.errors import BadInput
from datac.output_folder import state_of


def finished_child(folder: Path, genotype: Genotype) -> Genotype:
    """What the child was trained as: the cells of `genotype`, with the network around them, if any.

    BadInput where it is a search, not finished, or of other cells.
    """
    state = state_of(folder)
    if state is not None and state[0] == "run":
        raise BadInput(
            f"{folder} is a search; train a child with what it left, datac train --inherit {folder}"
        )
    if state == ("child", False):
        raise BadInput(
            f"{folder} holds an unfinished child; finish it with datac train --resume first"
        )
    trained = read_json(folder / GENOTYPE, Genotype)
    if trained.hash != genotype.hash:
        raise BadInput(
            f"{folder} was trained with other cells ({trained.hash[:12]}, not "
            f"{genotype.hash[:12]}); give {folder / GENOTYPE} as the genotype"
        )
    return trained
