"""Ensemble Gumbel-Softmax: which operations run in a step, with what weight and what gradient.

The estimator of DATA (Chang et al., NeurIPS 2019, definition 1): M one-hot samples are drawn from
the same distribution, and a candidate is selected when any of them hit it. The drawing is done on
the host, so that choosing what to run never waits for the device; what carries a gradient is done
where the logits are.

Everywhere: G groups (distributions), n columns (the widest group; `mask` says which columns a
group has), M draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datac.documents.genotype import FIRST_NODE, Aggregation
from datac.documents.search_result import Granularity
from datac.documents.search_space import NONE
from datac.errors import BadInput

# ---------------------------------------------------------------- which logit stands for what


@dataclass(frozen=True)
class Column:
    """What one logit, at [group, index], stands for; a merged `none` has no input."""

    group: int
    index: int
    node: int
    input: int | None
    operation: str

    @property
    def source(self) -> int:
        """The input of a path."""
        if self.input is None:
            raise ValueError(f"{self.operation} has no input, so it is no path")
        return self.input


@dataclass(frozen=True)
class Layout:
    """The distributions of one cell: its groups, and what their columns stand for.

    `node`: a group is a node; its columns are one `none`, where the candidates have it, and then
    every other (input, candidate). `edge`: a group is a (node, input), its columns the candidates.
    Node numbers are those of the genotype: the first is 2, node j has the inputs 0 to j - 1.
    """

    candidates: tuple[str, ...]
    nodes: int
    granularity: Granularity = "node"

    def __post_init__(self) -> None:
        if len(set(self.candidates)) != len(self.candidates):
            raise BadInput(f"candidates {', '.join(self.candidates)}: name each only once")
        if not self.operations:
            raise BadInput("the candidates hold no operation: name one besides none")
        if self.nodes < 1:
            raise BadInput(f"a cell of {self.nodes} nodes cannot be searched: ask for 1 or more")

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """The candidates without `none`."""
        return tuple(name for name in self.candidates if name != NONE)

    @property
    def node_numbers(self) -> range:
        """The numbers of the nodes, from 2."""
        return range(FIRST_NODE, FIRST_NODE + self.nodes)

    @cached_property
    def columns(self) -> tuple[tuple[Column, ...], ...]:
        """The columns of every group."""
        groups: list[tuple[Column, ...]] = []
        for node, entries in self._groups():
            number = len(groups)
            groups.append(
                tuple(
                    Column(number, index, node, source, operation)
                    for index, (source, operation) in enumerate(entries)
                )
            )
        return tuple(groups)

    def _groups(self) -> list[tuple[int, list[tuple[int | None, str]]]]:
        """(node, its (input, operation) entries) for every group, in order."""
        if self.granularity == "edge":
            return [
                (node, [(source, name) for name in self.candidates])
                for node in self.node_numbers
                for source in range(node)
            ]
        merged: list[tuple[int | None, str]] = [(None, NONE)] if NONE in self.candidates else []
        return [
            (node, merged + [(source, name) for source in range(node) for name in self.operations])
            for node in self.node_numbers
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """(G, n), the shape of the logits."""
        return len(self.columns), max(map(len, self.columns))

    @property
    def mask(self) -> Tensor:
        """(G, n) bool on the host: the columns that exist."""
        lengths = torch.tensor([len(columns) for columns in self.columns])
        return torch.arange(self.shape[1]) < lengths.unsqueeze(1)

    @cached_property
    def path_mask(self) -> Tensor:
        """(G, n) bool on the host: the columns that stand for a path."""
        mask = torch.zeros(self.shape, dtype=torch.bool)
        for node in self.node_numbers:
            for path in self.paths(node):
                mask[path.group, path.index] = True
        return mask

    def of_node(self, node: int) -> tuple[Column, ...]:
        """Every column of a node, `none` included, by group."""
        return tuple(c for columns in self.columns if columns[0].node == node for c in columns)

    def paths(self, node: int) -> tuple[Column, ...]:
        """The columns of a node that stand for a path, by input, then as the candidates stand."""
        return tuple(column for column in self.of_node(node) if column.operation != NONE)


@lru_cache(maxsize=16)
def _neighbours(layout: Layout, device: torch.device) -> Tensor:
    """(G, G, n): 1 at [g, h, k] where [h, k] is a path of the node that group g belongs to."""
    neighbours = torch.zeros(layout.shape[0], *layout.shape)
    for columns in layout.columns:
        for path in layout.paths(columns[0].node):
            neighbours[columns[0].group, path.group, path.index] = 1
    return neighbours.to(device)


# ---------------------------------------------------------------- sampling


@dataclass(frozen=True, eq=False)
class Codes:
    """One draw, on the host: the Gumbel noise (M, G, n) and the one-hot samples (M, G, n) bool."""

    noise: Tensor
    samples: Tensor

    @cached_property
    def selected(self) -> Tensor:
        """The binary code b, (G, n) bool on the host: what any of the samples hit."""
        return self.samples.any(dim=0)


def probabilities(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the columns that exist. Logits and mask (G, n) → (G, n), 0 outside the mask."""
    return logits.masked_fill(~mask, -math.inf).softmax(dim=-1)


def entropy(p: Tensor, mask: Tensor) -> float:
    """Mean over the groups, as a share of that of a uniform distribution; 0 of a single column."""
    each = torch.special.entr(p).sum(dim=-1)
    uniform = mask.sum(dim=-1).double().log()
    return float((each / uniform.clamp(min=torch.finfo(uniform.dtype).tiny)).mean())


def draw(p: Tensor, draws: int, generator: torch.Generator) -> Codes:
    """Draw M one-hot samples of every group by the Gumbel-max trick, on the host.

    p: (G, n) on the host, 0 in columns that do not exist; the generator is the host's too. It is
    the only source of chance: the same state gives the same codes.
    """
    p = p.detach().double()
    if not (p.isfinite().all() and (p.sum(dim=-1) > 0).all()):
        raise ValueError("probabilities that are not finite, or a group without any")
    exponential = torch.empty(draws, *p.shape, dtype=torch.float64)
    exponential.exponential_(generator=generator)
    noise = -exponential.clamp_(min=torch.finfo(torch.float64).tiny).log_()
    winners = (p.log() + noise).argmax(dim=-1)
    samples = torch.nn.functional.one_hot(winners, p.shape[-1]).bool()
    return Codes(noise, samples)


def relaxed(logits: Tensor, mask: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """The Gumbel-Softmax samples y = softmax((log p + g) / τ), shaped as the noise g (..., G, n).

    logits, mask: (G, n) on one device; half precision is raised to float32. The rows sum to 1.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    noise = noise.to(dtype).to(logits.device, non_blocking=True)
    # log p is the logits but for a constant of the group, which the softmax removes again.
    scores = logits.to(dtype).masked_fill(~mask, -math.inf)
    return ((scores + noise) / temperature).softmax(dim=-1)


def ensemble(logits: Tensor, mask: Tensor, codes: Codes, temperature: float) -> Tensor:
    """The binary code b of a draw, (G, n), exactly 0 or 1, with the gradient of definition 1.

        y = softmax((log p + g) / τ),  z = one_hot(argmax y) + y - stop_gradient(y),  b = max_M z

    The one-hot samples are those of the host: argmax here, in fewer digits, could disagree with
    what was chosen to run. Where several samples agree on a column the maximum divides its
    gradient evenly among them. Nothing here waits for the device.
    logits, mask: (G, n) on one device; half precision is raised to float32.
    """
    soft = relaxed(logits, mask, codes.noise, temperature)
    hard = codes.samples.to(soft.dtype).to(logits.device, non_blocking=True)
    # What is added is exactly zero in every precision, so the samples stay exactly 0 or 1.
    samples = hard + (soft - soft.detach())
    return samples.amax(dim=0)


def aggregate(code: Tensor, layout: Layout, aggregation: Aggregation) -> Tensor:
    """The weights that the operations' outputs get: (G, n) → (G, n).

    `sum`: the code itself, as in the paper. `mean`: divided by the number of paths selected in
    the whole node; `none` does not count, and a node where nothing was selected divides by 1.
    """
    if aggregation == "sum":
        return code
    selected = (_neighbours(layout, code.device).to(code.dtype) * code).sum(dim=(1, 2))
    return code / selected.clamp(min=1).unsqueeze(1)


def temperature(step: int, steps: int, start: float = 5.0, end: float = 1.0) -> float:
    """τ of a step (0 to steps - 1): a straight line from `start` at the first to `end` at the last.

    It shapes the gradient and nothing else: what is drawn does not depend on it.
    """
    done = min(max(step / max(steps - 1, 1), 0.0), 1.0)
    return start + (end - start) * done


# ---------------------------------------------------------------- closed forms


def keep_probability(p: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """P(b_k = 1) = 1 - (1 - p_k)^M for every entry, accurate for tiny p. Shape as p."""
    with np.errstate(divide="ignore"):  # p = 1: log 0 = -inf leads to exactly 1
        logarithm = np.log1p(-np.clip(p, 0.0, 1.0, dtype=np.float64))
    kept: NDArray[np.float64] = -np.expm1(draws * logarithm)
    return kept


def expected_selected(p: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """The expected number of selected columns, Σ_k 1 - (1 - p_k)^M. (..., n) → (...)."""
    selected: NDArray[np.float64] = keep_probability(p, draws).sum(axis=-1)
    return selected


def set_probability(p: Sequence[float] | NDArray[np.float64], draws: int) -> float:
    """P(b = exactly this set), for the probabilities p of its members.

    It is M! times the coefficient of t^M in Π (exp(p_k t) - 1); 0 for no members or more than M.
    """
    members = np.asarray(p, dtype=np.float64)
    return float(prefix_probabilities(members, draws)[-1]) if members.size else 0.0


def prefix_probabilities(p: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """`set_probability` of the first 1, 2, ..., n entries of p. (n,) → (n,).

    The factorials are folded into the recurrence: covers[j], the probability that j draws hit the
    entries taken so far, each at least once, and nothing else, becomes

        covers'[j] = Σ_{i<j} C(j, i) covers[i] p^(j-i)

    with one more entry p. Every term is positive, so nothing cancels (inclusion-exclusion loses
    nine digits at 16 members), and every value is a probability, so nothing overflows.
    """
    covers = np.zeros(draws + 1)
    covers[0] = 1.0
    result = np.empty(len(p))
    for index, entry in enumerate(p):
        covers = one_more(covers, float(entry), draws)
        result[index] = covers[draws]
    return result


def one_more(covers: NDArray[np.float64], entry: float, draws: int) -> NDArray[np.float64]:
    """The step of `prefix_probabilities`: (..., M + 1) of some entries → of these and one more."""
    exponents = np.arange(draws + 1)
    # Where j <= i there is no such term: these places read the power that is put to 0.
    distance = np.maximum(np.subtract.outer(exponents, exponents), 0)
    powers = entry**exponents
    powers[0] = 0.0
    longer: NDArray[np.float64] = covers @ (_binomials(draws) * powers[distance]).T
    return longer


@lru_cache(maxsize=16)
def _binomials(draws: int) -> NDArray[np.float64]:
    """C(j, i) at [j, i], (draws + 1, draws + 1)."""
    size = range(draws + 1)
    table = np.array([[math.comb(j, i) for i in size] for j in size], dtype=np.float64)
    table.setflags(write=False)  # the cache hands the same array to everyone
    return table
