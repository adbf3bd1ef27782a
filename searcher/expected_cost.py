"""What the code of a draw costs on average, in closed form: the cost that the logits can learn.

    E[cost] = rest + Σ over kinds, groups and columns of cost_k · P(b_k = 1)
    P(b_k = 1) = 1 - (1 - p_k)^M

exact, since the cost of a code is a sum over what it selects, whatever the dependence between
them. (P(b_k = 1) follows from definition 1 of DATA.) It is of the child's network: the draw is
the supernet's, and every path counts what it would cost in the child. The aggregation `mean`
changes no cost.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from datac.documents.genotype import CellKind
from searcher.gumbel import Layout, probabilities
from searcher.path_costs import PathCosts

Columns = dict[CellKind, Tensor]
"""(G, n) float64 on the host for each kind of cell: what the path of each column costs."""


def cost_columns(costs: PathCosts, layout: Layout) -> Columns:
    """The costs laid out as the logits are; 0 for `none` and for columns that do not exist."""
    columns = {}
    for kind, paths in costs.paths.items():
        table = torch.zeros(layout.shape, dtype=torch.float64)
        for node in layout.node_numbers:
            for path in layout.paths(node):
                if path.input is not None:
                    table[path.group, path.index] = paths[path.input, path.operation]
        columns[kind] = table
    return columns


def code_cost(code: Mapping[CellKind, Tensor], columns: Columns) -> float:
    """What the paths of one code cost together; (G, n) bool for each kind."""
    return sum(float(columns[kind][selected].sum()) for kind, selected in code.items())


def expected_cost(
    logits: Mapping[CellKind, Tensor], columns: Columns, rest: float, layout: Layout, draws: int
) -> Tensor:
    """The expected cost of a draw: () float64, differentiable in the logits.

    logits: (G, n) on the host for each kind. With a distribution per edge a draw is M samples of
    every edge, so the sum runs over the edges as it does over nodes.
    """
    total = torch.tensor(rest, dtype=torch.float64)
    for kind, values in logits.items():
        p = probabilities(values.double(), layout.mask)
        # Not through log1p and expm1, as the closed form for reports: at p = 1 their gradient is
        # no number, and digits that tiny probabilities lose here weigh nothing in a sum of costs.
        kept = 1 - (1 - p) ** draws
        total = total + (columns[kind] * kept).sum()
    return total
