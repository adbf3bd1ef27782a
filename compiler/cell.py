"""What a cell is, apart from what its nodes compute: its inputs brought to one width and size."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.candidates import Form, Place, factorized_reduce, relu_conv_norm
from compiler.scope import Scope
from datac.documents.genotype import FIRST_NODE, CellKind


@dataclass(frozen=True)
class CellPlan:
    """One cell of a network, as its skeleton lays it out.

    stride: 2 where the cell halves the map (edges from its two inputs have stride 2).
    dilation: what output stride adds to the spatial convolutions.
    reduced_before: the previous cell halved the map, so input 0 is twice as large as input 1.
    """

    index: int
    kind: CellKind
    channels: int
    stride: int = 1
    dilation: int = 1
    reduced_before: bool = False

    def place(self, source: int, form: Form) -> Place:
        """Where an operation on input `source` stands."""
        stride = self.stride if source < FIRST_NODE else 1
        return Place(self.channels, stride, self.dilation, form)


def scope_of(scope: Scope, plan: CellPlan) -> Scope:
    """The scope of a cell."""
    return scope.inside(f"cell{plan.index}", cell=plan.index)


def preprocess(
    scope: Scope, plan: CellPlan, inputs: tuple[str, str], form: Form
) -> tuple[str, str]:
    """Bring both inputs of a cell to its width, and input 0 to the size of input 1."""
    place = Place(plan.channels, form=form)
    first = factorized_reduce if plan.reduced_before else relu_conv_norm
    return (
        first(scope.inside("preprocess0"), inputs[0], place),
        relu_conv_norm(scope.inside("preprocess1"), inputs[1], place),
    )
