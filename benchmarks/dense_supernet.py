"""The search step as the authors of DATA wrote it, for comparison: every operation on every edge.

    o(x) = Σ_k w_k · o_k(x),  `none` included as 0 · x

for each of the 14 edges of a cell, everything with a graph; both steps call `backward()` on all
parameters, so the architecture step computes weight gradients that nobody uses (DATA-NAS
`model_search_softmax.py`, `train_search.py`). What is not as the authors': a code is one
vectorised draw, and a node the paper's sum.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from compiler.ops import Concat
from compiler.torch_module import stock_module
from datac.documents.genotype import CellKind
from datac.documents.search_space import NONE
from searcher.fast_modules import fast_module
from searcher.supernet import Supernet

Weights = Mapping[CellKind, Tensor]
"""(G, n) for each kind of cell, with the gradient of the logits."""


class DenseSupernet(nn.Module):
    """A supernet's own operations, run as the authors run theirs. `fast`: gradients kept dense."""

    def __init__(self, supernet: Supernet, *, fast: bool = False) -> None:
        super().__init__()
        self.supernet = supernet
        self.concatenate = fast_module(Concat()) if fast else stock_module(Concat())

    def forward(self, x: Tensor, weights: Weights) -> Tensor:
        """(N, 3, H, W) → logits."""
        supernet = self.supernet
        stem = supernet.stem(x)
        states = stem["state0"], stem["state1"]
        for cell in supernet.cells:
            inputs = cell.preprocess(*states)
            values = [inputs["input0"], inputs["input1"]]
            for number in cell.nodes:
                values.append(self._node(cell, number, values, weights[cell.plan.kind]))
            states = states[1], self.concatenate(*values[2:])
        logits: Tensor = supernet.head(states[1], x)
        return logits

    def _node(self, cell: nn.Module, number: int, values: list[Tensor], weights: Tensor) -> Tensor:
        node, results = cell.nodes[number], []
        for path, candidate in zip(node.paths, node.candidates, strict=True):
            output = candidate.finish(candidate.begin(values[path.input]))
            results.append(output * weights[path.group, path.index])
        for column in self.supernet.layout.of_node(number):
            if column.operation == NONE:
                source = column.input or 0
                stride = cell.plan.stride if source < 2 else 1
                nothing = values[source][:, :, ::stride, ::stride] * 0
                results.append(nothing * weights[column.group, column.index])
        total: Tensor = sum(results[1:], results[0])
        return total
