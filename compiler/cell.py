"""What a cell is, apart from what its nodes compute: its inputs brought to one width and size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.candidates import Form, Place, factorized_reduce, relu_conv_norm
from compiler.scope import Scope
from datac.documents.genotype import FIRST_NODE, CellKind


@dataclass(frozen=True)
class CellPlan:
    """One cell of a network, as its skeleton lays it out.

    stride: 2 where the cell halves the map (edges from its two inputs have stride 2).
    dilation: what output stride adds to the spatial convolutions.
    reduced_before: the previous cell is a reduction, or stands for one (the ImageNet stem).
    stride_before: its stride; with 2, input 0 is twice as large as input 1.

    A reduction cell of stride 1 is one whose stride the output stride has taken away.
    """

    index: int
    kind: CellKind
    channels: int
    stride: int = 1
    dilation: int = 1
    reduced_before: bool = False
    stride_before: int = 2

    @property
    def unstrided(self) -> bool:
        """A reduction that keeps the size."""
        return self.kind == "reduction" and self.stride == 1

    def place(self, source: int, form: Form) -> Place:
        """Where an operation on input `source` stands."""
        if source >= FIRST_NODE:
            return Place(self.channels, 1, self.dilation, form)
        return Place(self.channels, self.stride, self.dilation, form, self.unstrided)


def scope_of(scope: Scope, plan: CellPlan) -> Scope:
    """The scope of a cell."""
    return scope.inside(f"cell{plan.index}", cell=plan.index)


def preprocess(
    scope: Scope, plan: CellPlan, inputs: tuple[str, str], form: Form
) -> tuple[str, str]:
    """Bring both inputs of a cell to its width, and input 0 to the size of input 1."""
    place, at = Place(plan.channels, form=form), scope.inside("preprocess0")
    if plan.reduced_before:
        first = factorized_reduce(at, inputs[0], replace(place, stride=plan.stride_before))
    else:
        first = relu_conv_norm(at, inputs[0], place)
    return first, relu_conv_norm(scope.inside("preprocess1"), inputs[1], place)
