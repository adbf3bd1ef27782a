"""Random search, the baseline: a multi-path genotype that nothing but chance has chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datac.documents.genotype import CELL_KINDS, CellKind, Path
from datac.documents.network import Network
from datac.documents.search_result import Granularity
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput
from searcher.derive import Choice, Derived
from searcher.expected_cost import code_cost, cost_columns
from searcher.gumbel import Layout
from searcher.methods.data import check_draws
from searcher.methods.method import Drawing, Level, Logits, Method, Mixtures
from searcher.path_costs import counted_costs
from searcher.supernet import Mixture

Code = dict[CellKind, Tensor]
"""(G, n) bool for each kind of cell, on the host."""

MOST_TRIES = 5_000
"""Genotypes drawn until one has the multiply-adds that were asked for: some ten seconds."""


@dataclass(frozen=True)
class Random(Method):
    """A genotype drawn uniformly from the codes of 1 to M paths a node; no logit learns.

    network: what the genotype is written for. match_macs: drawn again until its multiply-adds
    there lie within the share `match_tolerance` of so many, so that it can be compared with what
    a method found. The weights of the supernet learn on codes drawn in the same way, each step
    another one, so that a child can inherit them.

    The logits are the genotype itself, 1 for its paths: so a resumed run has the same.
    """

    network: Network | None = None
    draws: int = 4
    match_macs: int | None = None
    match_tolerance: float = 0.1

    granularities: ClassVar[tuple[Granularity, ...]] = ("node",)
    levels: ClassVar[tuple[Level, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be matched."""
        check_draws(self.draws)
        if self.match_macs is not None and self.match_macs < 1:
            raise BadInput(f"--match-macs {self.match_macs}: a child has 1 multiply-add or more")
        if not (math.isfinite(self.match_tolerance) and self.match_tolerance >= 0):
            raise BadInput(
                f"--match-tolerance {self.match_tolerance:g}: give a share of the multiply-adds, "
                "such as 0.1"
            )

    def initial_logits(self, generator: torch.Generator) -> Logits:
        """The genotype. BadInput where none of many has the multiply-adds that were asked for."""
        wanted = self.match_macs
        code = self._code(generator) if wanted is None else self._matching(wanted, generator)
        return {kind: selected.float() for kind, selected in code.items()}

    def _matching(self, wanted: int, generator: torch.Generator) -> Code:
        """The first code drawn whose child costs about as much as is wanted."""
        if self.network is None:
            raise ValueError("multiply-adds cannot be matched without the child's network")
        space = SearchSpace(candidates=self.layout.candidates, nodes=self.layout.nodes)
        costs = counted_costs(self.network, space, "multiply_adds")
        columns = cost_columns(costs, self.layout)
        found = []
        for _ in range(MOST_TRIES):
            code = self._code(generator)
            found.append(round(costs.rest + code_cost(code, columns)))
            if abs(found[-1] - wanted) <= self.match_tolerance * wanted:
                return code
        raise BadInput(
            f"--match-macs {wanted}: none of {MOST_TRIES} genotypes drawn lies within "
            f"{self.match_tolerance:g} of it, they have {min(found)} to {max(found)} "
            "multiply-adds; give another number, another -M, or a larger --match-tolerance"
        )

    def _code(self, generator: torch.Generator) -> Code:
        return {kind: uniform_code(self.layout, self.draws, generator) for kind in CELL_KINDS}

    def scores(self, logits: Tensor) -> Tensor:
        """Every path is as likely as the others, whichever were drawn."""
        return torch.zeros_like(logits)

    def for_architecture(self, drawing: Drawing) -> Mixtures:
        """There is no such step."""
        raise ValueError("no logit of a random search learns")

    def for_weights(self, drawing: Drawing) -> Mixtures:
        """A code drawn like the genotype, of any cost."""
        return {kind: Mixture(code) for kind, code in self._code(drawing.generator).items()}

    def derive(self, logits: Logits) -> Derived:
        """The genotype that was drawn before the first step."""
        choices = {
            kind: tuple(_choice(node, values > 0, self.layout) for node in self.layout.node_numbers)
            for kind, values in logits.items()
        }
        return Derived(choices, self.aggregation)


def uniform_code(layout: Layout, most: int, generator: torch.Generator) -> Tensor:
    """A code whose nodes have 1 to `most` paths, each such set as likely. (G, n) bool, host."""
    code = torch.zeros(layout.shape, dtype=torch.bool)
    for node in layout.node_numbers:
        paths = layout.paths(node)
        sets = [math.comb(len(paths), size + 1) for size in range(min(most, len(paths)))]
        shares = torch.tensor(sets, dtype=torch.float64)
        size = int(torch.multinomial(shares, 1, generator=generator)) + 1
        for place in torch.randperm(len(paths), generator=generator)[:size].tolist():
            code[paths[place].group, paths[place].index] = True
    return code


def _choice(node: int, code: Tensor, layout: Layout) -> Choice:
    paths = layout.paths(node)
    return Choice(
        node=node,
        paths=tuple(
            Path(operation=path.operation, input=path.input)
            for path in paths
            if path.input is not None and code[path.group, path.index]
        ),
        none=0.0,
        distribution=(1 / len(paths),) * len(paths),
    )
