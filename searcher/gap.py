"""The gap: how much worse than the supernet is the child that a search derives from it?

Four networks with the weights of the end of the search, on the validation samples of the recipe:

    sampled     the supernet as a weight step runs it: DRAWS draws by the method's own sampling,
                each over all samples (DATA, GDAS and random: codes; SNAS: concrete samples at the
                last temperature; DARTS: its softmax, which is the same at every draw)
    derived     the supernet restricted to the code of the genotype
    recomputed  the compiler's child with the weights that it inherits, by batch statistics
    child       the same child with the running statistics that it inherits

    gap = mean(sampled) - child

DATA's table 8 and SNAS's table 1 have its absolute value: the error of the search at its end
beside that of the derived child without fine-tuning. Nothing is trained here either, and the child
is judged as it is inherited. The four differ each from the one before in one thing, so the gap is
the sum of derivation, form and statistics; see `Gap`. (DATA's released code evaluates its genotype
inside the supernet, which leaves only the first of these.)

Batch statistics. The supernet, sampled or derived, is measured by those of the batch, as it is
trained and validated: its running ones moved with whatever code ran, and are a mixture that no
single code computes (the authors measured by that mixture). A child has no such choice where it is
used, so it is judged by the running statistics that it inherits. `recomputed` stands between: the
child by the statistics of the batch computes what the supernet does with the derived code, to the
last bit where no pool was chosen. Behind a pool the supernet has a batch norm that a child has not.

All is measured in the supernet's own network. Where the genotype is written for another (more
cells, more channels), its child cannot inherit these weights and has no gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from compiler.lower import lower
from compiler.torch_module import GraphModule
from datac.documents.gap import Gap, Metric
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from searcher.augment import IGNORED, Batches
from searcher.child import laid_out
from searcher.derive import Derived
from searcher.evaluate import evaluate
from searcher.fast_modules import fast_module
from searcher.inherit import inherit
from searcher.methods import Drawing, Logits, Method, Mixtures
from searcher.supernet import FixedCode, Supernet, batch_statistics, code_of

DRAWS = 5
"""Of the supernet: enough for a spread, and few beside the validations of the epochs."""

STREAM = 2
"""Beside the run's seed: the draws neither repeat those of the search nor move its generator."""


@dataclass(frozen=True, eq=False)
class SearchEnd:
    """Where a search has come to. network: the supernet's. temperature: of the last step."""

    supernet: Supernet
    network: Network
    method: Method
    logits: Logits
    derived: Derived
    temperature: float


def measure_gap(end: SearchEnd, batches: Batches, seed: int) -> Gap | None:
    """The gap on `batches`; None where none of their labels counts.

    The same seed gives the same. Weights, statistics and torch's own generator stay as they are.
    """
    metric: Metric = "miou" if end.network.task == "segmentation" else "accuracy"
    samples, counts = _labels(batches, end.network.classes)
    if not sum(counts):
        return None
    chance = Chance.of(counts, samples, metric)

    def measured(module: nn.Module) -> float:
        return evaluate(module, batches, end.network.classes, end.network.task).metric

    supernet, layout = end.supernet, end.method.layout
    codes = {kind: code_of(cell, layout) for kind, cell in end.derived.cells.items()}
    child = inherited_child(supernet, end.derived.genotype(), end.network)
    return Gap(
        metric=metric,
        samples=samples,
        sampled=tuple(_sampled(end, seed, measured)),
        derived=measured(FixedCode(supernet, codes)),
        recomputed=measured(_ByBatch(child)),
        child=measured(child),
        chance=chance.value,
        margin=chance.margin,
    )


def inherited_child(supernet: Supernet, genotype: Genotype, network: Network) -> nn.Module:
    """The child with the weights and running statistics of the supernet, where that is.

    It runs the supernet's modules, so that what differs is never an order of additions.
    """
    weights, _ = inherit(supernet.state_dict(), genotype, network)
    with torch.random.fork_rng(devices=[]):  # weights are drawn, and all of them replaced
        child = GraphModule(lower(genotype, network), fast_module)
    child.load_state_dict({**child.state_dict(), **weights})
    return laid_out(child, network).to(next(supernet.parameters()))


# ---------------------------------------------------------------- the supernet as it is searched


class _Sampled(nn.Module):
    """The supernet with what one draw runs, by batch statistics: (N, 3, H, W) → logits."""

    def __init__(self, supernet: Supernet, mixtures: Mixtures) -> None:
        super().__init__()
        self.supernet, self._mixtures = supernet, mixtures

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        with batch_statistics(self.supernet):
            return cast("Tensor", self.supernet(x, self._mixtures))


class _ByBatch(nn.Module):
    """A child by batch statistics: (N, 3, H, W) → logits."""

    def __init__(self, child: nn.Module) -> None:
        super().__init__()
        self.child = child

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        with batch_statistics(self.child):
            return cast("Tensor", self.child(x))


def _sampled(end: SearchEnd, seed: int, measured: Callable[[nn.Module], float]) -> Iterator[float]:
    """The metric of every draw; one that was drawn before is not measured again."""
    stream = np.random.SeedSequence([seed, STREAM]).generate_state(1)
    generator = torch.Generator().manual_seed(int(stream[0]))
    device = next(end.supernet.parameters()).device
    known: dict[bytes, float] = {}
    drawing = Drawing(end.logits, generator, end.temperature, device)
    for _ in range(DRAWS):
        mixtures = end.method.for_weights(drawing)
        key = _key(mixtures)
        if key not in known:
            known[key] = measured(_Sampled(end.supernet, mixtures))
        yield known[key]


def _key(mixtures: Mixtures) -> bytes:
    """What tells one draw from another: what it selects, and how it scales that."""
    tensors = [
        tensor
        for mixture in mixtures.values()
        for tensor in (mixture.selected, mixture.weights)
        if tensor is not None
    ]
    return b"".join(tensor.detach().cpu().numpy().tobytes() for tensor in tensors)


# ---------------------------------------------------------------- chance


def _labels(batches: Batches, classes: int) -> tuple[int, list[int]]:
    """How many samples there are, and how many labels that count each class has."""
    samples, counts = 0, torch.zeros(classes, dtype=torch.int64)
    for batch in batches.epoch(0):
        samples += len(batch.labels)
        counts += torch.bincount(batch.labels[batch.labels != IGNORED], minlength=classes)
    return samples, counts.tolist()


@dataclass(frozen=True)
class Chance:
    """A network that answers the commonest class to everything: its metric, and what to add.

    value: share / parts, where `share` is that of the commonest class among the labels. For
    accuracy parts is 1. For mIoU it is the number of classes that occur: the union of the answered
    class is everything, so its IoU is the share, and the others have 0. No other single answer has
    more. margin: 2 · √(share · (1 - share) / samples) / parts, two standard errors of it, for a
    supernet that is no better can by luck be as much above. Samples are images: the pixels of one
    are not independent, and the shares of images, which lie in 0 to 1, scatter no more than that.
    """

    value: float
    margin: float

    @classmethod
    def of(cls, counts: Sequence[int], samples: int, metric: Metric) -> Self:
        """counts: how many labels of each class there are in all samples."""
        share = max(counts) / sum(counts)
        parts = 1 if metric == "accuracy" else sum(count > 0 for count in counts)
        return cls(share / parts, 2 * math.sqrt(share * (1 - share) / samples) / parts)
