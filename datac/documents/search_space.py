"""The search space document: what a search may choose from."""

from typing import Literal, Self

from pydantic import Field, model_validator

from datac.documents.document import Document
from datac.documents.genotype import FIRST_NODE, OperationName, Path

NONE = "none"
"""The candidate that adds nothing; a derived genotype never holds it."""


class SearchSpace(Document):
    """Candidates in index order, and the size of a cell (`datac.search_space/1`).

    Every node may take any candidate over any input before it: node 2 has the inputs 0 and 1.
    """

    schema_: Literal["datac.search_space/1"] = Field(default="datac.search_space/1", alias="schema")
    candidates: tuple[OperationName, ...]
    nodes: int = Field(default=4, ge=1, description="nodes of a cell")
    inputs: Literal[2] = Field(default=2, description="inputs of a cell")

    @property
    def operations(self) -> tuple[str, ...]:
        """The candidates without `none`, in order."""
        return tuple(name for name in self.candidates if name != NONE)

    def paths(self, node: int) -> tuple[Path, ...]:
        """Every path that `node` may have, `none` left out: by input, then by candidate.

        This is the order of the probabilities in a search result.
        """
        return tuple(
            Path(operation=operation, input=source)
            for source in range(node)
            for operation in self.operations
        )

    def numbers(self) -> range:
        """The numbers of a cell's nodes."""
        return range(FIRST_NODE, FIRST_NODE + self.nodes)

    @model_validator(mode="after")
    def _candidates_differ(self) -> Self:
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError("a candidate stands twice")
        if not self.operations:
            raise ValueError("there is no candidate to choose")
        return self
