"""Small networks, and random genotypes, for every test of the compiler."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from compiler.candidates import CANDIDATES
from datac.documents.genotype import FIRST_NODE, Cell, Genotype, Node, Path
from datac.documents.network import DEFAULTS, Network

TINY: dict[str, dict[str, Any]] = {
    "cifar": {"channels": 4, "cells": 3, "classes": 5, "input": (3, 9, 7)},
    "imagenet": {"channels": 4, "cells": 3, "classes": 5, "input": (3, 35, 33)},
    "segmentation": {
        "channels": 4,
        "cells": 3,
        "classes": 5,
        "input": (3, 35, 33),
        "head_channels": 6,
    },
}
"""Odd sizes, one normal cell, then both reductions."""


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Network]:
    """`tiny(skeleton, **sizes)`: a network that runs in milliseconds."""

    def make(skeleton: str, **sizes: Any) -> Network:
        return Network.model_validate({**dict(DEFAULTS[skeleton]), **TINY[skeleton], **sizes})

    return make


@st.composite
def _cells(draw: st.DrawFn, nodes: int, paths: int) -> Cell:
    made = []
    for number in range(FIRST_NODE, FIRST_NODE + draw(st.integers(1, nodes))):
        path = st.builds(
            Path, operation=st.sampled_from([*CANDIDATES]), input=st.integers(0, number - 1)
        )
        made.append(Node(paths=tuple(draw(st.lists(path, min_size=1, max_size=paths)))))
    numbers = [*range(FIRST_NODE, FIRST_NODE + len(made))]
    output = draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
    return Cell(nodes=tuple(made), output=tuple(output))


@st.composite
def _genotypes(draw: st.DrawFn, nodes: int = 5, paths: int = 4) -> Genotype:
    cells = {kind: draw(_cells(nodes, paths)) for kind in ("normal", "reduction")}
    return Genotype(cells=cells, aggregation=draw(st.sampled_from(["sum", "mean"])))


@pytest.fixture(scope="session")
def genotypes() -> st.SearchStrategy[Genotype]:
    """Cells of 1 to 5 nodes with 1 to 4 paths each, any operation, any output."""
    return _genotypes()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Nets this small only wait for one another on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
