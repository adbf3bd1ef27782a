"""Bounds as a Lagrangian constraint: what they add to the gradient of the logits, and how hard.

A search under a bound B minimises the loss L subject to E[cost] ≤ B. It descends the augmented
Lagrangian of an inequality in the logits, and ascends it in the multiplier λ ≥ 0 (Hestenes,
Powell; Nocedal and Wright, Numerical Optimization, chapter 17):

    e = (E[cost] - B) / (B - smallest possible cost), held within -1 and 1
    push = max(0, λ + STIFFNESS · e)
    gradient = (∇L + push · |∇L| · ∇E[cost] / |∇E[cost]|) / (1 + push)
    λ ← max(0, λ + ASCENT / steps · e)

Where the bound is slack λ falls to 0 and nothing is added. Where it binds the push settles at what
balances the loss. Most of it comes from e, which answers at once: a search may have no more than
forty architecture steps, and λ alone would be raised far too high while E is still on its way
down, and then keep it too low. What e leaves, an excess of push / STIFFNESS, λ removes.

Why the loss' own length is the unit: Adam divides each gradient by its recent size, so a step is
as long whatever the scale of loss and cost. What decides where it leads is the size of one beside
the other, and neither scale is known: that of L falls as the weights learn, and E[cost] may
be in parameters or in milliseconds. With both gradients at one length, λ = 1 means that cost counts
as much as loss in every network, task and unit. |∇L| is a running mean, since one step's is mostly
chance.

Why the sum is divided by 1 + push: Adam's second moment remembers a thousand steps. Were the push
of the first steps, when E is far above, added at full length, every later step would be divided
by it, and the logits would stay undecided to the end of a short search. So the gradient stays as
long as that of the loss, and the push only turns it.

Both factors are positive, so the points of rest are where they would be without them: there ∇L is
a negative multiple of ∇E[cost], which is the condition of Karush, Kuhn and Tucker.

Why e is relative to what the bound leaves beyond the smallest child: a head that outweighs the
cells would make every excess look small. It is held within 1, so that λ neither runs away where E
starts far above nor needs long to come back. The ascent of a whole search is the same however many
steps it has, as is the travel of its logits (`searcher/recipes.py:ARCHITECTURE_TRAVEL`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from datac.documents.genotype import Cell, CellKind
from datac.documents.network import Network
from datac.documents.search_result import BoundResult
from datac.documents.search_space import SearchSpace
from searcher.bounds import Bound
from searcher.derive import Derived
from searcher.expected_cost import cost_columns, expected_cost
from searcher.gumbel import Layout

ASCENT = 3.0
"""What λ gains in a search whose excess is 1 throughout.

Chosen with STIFFNESS on noisy losses that reward convolutions, with room for 0.1 to 0.8 of what
the paths of uniform logits cost: at the end E uses 74 % to 101 % of the room in 44 steps, 96 % to
101 % in 160 and in 1000. Where λ does most (40 and 4) it uses 21 % to 100 %: λ is still high when
E has long arrived.
"""

STIFFNESS = 8.0
"""What an excess of 1 adds to the push at once."""

MEMORY = 0.9
"""Of the running mean of |∇L|: the last ten steps or so."""


class Constraint:
    """The bounds of one search, and what changes as it goes: multipliers and the loss' length."""

    def __init__(
        self,
        bounds: Sequence[Bound],
        layout: Layout,
        draws: int,
        steps: int,
        scores: Callable[[Tensor], Tensor] = torch.clone,
    ) -> None:
        """steps: of the architecture, in the whole search.

        scores: logits → what the softmax makes probabilities of.
        """
        self._scores = scores
        self.bounds, self.layout, self.draws = tuple(bounds), layout, draws
        space = SearchSpace(candidates=layout.candidates, nodes=layout.nodes)
        self._columns = [cost_columns(bound.costs, layout) for bound in bounds]
        self._room = [bound.value - bound.costs.smallest(space) for bound in bounds]
        self._ascent = ASCENT / max(steps, 1)
        self.multipliers = [0.0] * len(self.bounds)
        self.length: float | None = None

    def expected(self, logits: Mapping[CellKind, Tensor]) -> list[float]:
        """E[cost] of each bound's quantity."""
        return [float(cost.detach()) for cost in self._expected(logits)]

    def _expected(self, logits: Mapping[CellKind, Tensor]) -> list[Tensor]:
        """The same, () float64 and differentiable, each by a graph of its own."""

        def scores() -> dict[CellKind, Tensor]:
            return {kind: self._scores(values) for kind, values in logits.items()}

        return [
            expected_cost(scores(), columns, bound.costs.rest, self.layout, self.draws)
            for bound, columns in zip(self.bounds, self._columns, strict=True)
        ]

    def add_to(
        self, gradients: Sequence[Tensor], logits: Mapping[CellKind, Tensor]
    ) -> list[Tensor]:
        """The loss' gradients with the push of every bound added, and the multipliers raised.

        gradients: (G, n) for each of the logits, in their order; they stay as they are.
        """
        if not self.bounds:
            return list(gradients)
        self._remember(_length(gradients))
        pushed, weight = [values.clone() for values in gradients], 1.0
        for index, cost in enumerate(self._expected(logits)):
            excess = self._excess(index, float(cost.detach()))
            push = max(0.0, self.multipliers[index] + STIFFNESS * excess)
            self.multipliers[index] = max(0.0, self.multipliers[index] + self._ascent * excess)
            directions = torch.autograd.grad(cost, list(logits.values()))
            length = _length(directions)
            if push == 0 or length == 0:
                continue
            scale = push * (self.length or 0.0) / length
            weight += push
            for gradient, direction in zip(pushed, directions, strict=True):
                gradient.add_(direction, alpha=scale)
        return [gradient / weight for gradient in pushed]

    def costs(
        self, logits: Mapping[CellKind, Tensor], cells: Mapping[CellKind, Cell]
    ) -> dict[str, dict[str, float]]:
        """By quantity: the bound, the expected cost of a draw, and the cost of these cells."""
        return {
            bound.quantity: {
                "bound": bound.value,
                "expected": expected,
                "child": bound.costs.of(cells),
            }
            for bound, expected in zip(self.bounds, self.expected(logits), strict=True)
        }

    def by_quantity(self) -> dict[str, float]:
        """The multiplier of each bound."""
        quantities = (bound.quantity for bound in self.bounds)
        return dict(zip(quantities, self.multipliers, strict=True))

    def results(
        self,
        logits: Mapping[CellKind, Tensor],
        derived: Derived,
        unbounded: Derived,
        child: Network,
    ) -> tuple[BoundResult, ...]:
        """What became of each bound. unbounded: what is derived where nothing is bounded."""
        return tuple(
            BoundResult(
                quantity=bound.quantity,
                bound=bound.value,
                child=bound.count(derived.genotype(), child),
                unbounded=bound.count(unbounded.genotype(), child),
                expected=expected,
                multiplier=multiplier,
                uncertainty=bound.costs.uncertainty,
            )
            for bound, expected, multiplier in zip(
                self.bounds, self.expected(logits), self.multipliers, strict=True
            )
        )

    def _excess(self, index: int, expected: float) -> float:
        """The e of the module's formula; where a bound leaves no room, any excess is 1."""
        over, room = expected - self.bounds[index].value, self._room[index]
        if abs(over) >= room:
            return float((over > 0) - (over < 0))
        return over / room

    def _remember(self, length: float) -> None:
        if self.length is None:
            self.length = length
        self.length = MEMORY * self.length + (1 - MEMORY) * length

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"multipliers": list(self.multipliers), "length": self.length}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.multipliers, self.length = list(state["multipliers"]), state["length"]


def _length(tensors: Sequence[Tensor]) -> float:
    """Of all of them as one vector."""
    return float(torch.stack([values.double().square().sum() for values in tensors]).sum().sqrt())
