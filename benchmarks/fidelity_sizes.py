"""What is compared, at which sizes: rows, seeds, how each data set is searched and retrained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler.candidates import SEARCH_SPACE
from datac.datasets.dataset import Dataset
from datac.documents.network import Network
from searcher.method_options import MethodOptions
from searcher.recipes import PAPER_CLASSIFICATION, PAPER_SEGMENTATION, SearchRecipe, Sizes
from searcher.train_recipes import RECIPES, Recipe

BASELINE = "random"
HAND_MADE = "fastscnn"

ROWS: dict[str, MethodOptions | None] = {
    "data-m4": MethodOptions("data", draws=4),
    "data-m7": MethodOptions("data", draws=7),
    "darts": MethodOptions("darts"),
    BASELINE: MethodOptions("random", draws=4),
    "data-m1": MethodOptions("data", draws=1),
    "snas": MethodOptions("snas"),
    "gdas": MethodOptions("gdas"),
    "data-m4-single": MethodOptions("data", draws=4, level="single"),
    "data-m4-edge": MethodOptions("data", draws=4, granularity="edge"),
    HAND_MADE: None,
}
"""data-*: per node and alternating where the name says nothing else. None: made by hand."""

Seeds = Mapping[str, int]
"""Row → how many seeds it has, counted from 0."""

MAIN = ("data-m4", "data-m7", "darts", BASELINE)
CIFAR10_SEEDS: Seeds = (
    dict.fromkeys(MAIN, 8)
    | dict.fromkeys(("data-m1", "snas", "gdas"), 1)
    | dict.fromkeys(("data-m4-single", "data-m4-edge"), 3)
)
CAMVID_SEEDS: Seeds = dict.fromkeys(ROWS, 1) | dict.fromkeys((*MAIN, HAND_MADE), 3)


@dataclass(frozen=True)
class Study:
    """One data set at one size.

    search: of every method alike. child: the sizes at which costs are compared; `size` is what
    the child sees, (height, width). macs: multiply-adds that every child comes close to, each at
    the width that does so best. training: from scratch, of every child alike.
    candidates: what a path may be.
    """

    search: SearchRecipe
    child: Sizes
    size: tuple[int, int]
    macs: int
    training: Recipe
    seeds: Seeds
    candidates: tuple[str, ...] = SEARCH_SPACE

    def supernet_on(self, dataset: Dataset) -> Network:
        """What is searched."""
        return _network(dataset, self.search.supernet, self.search.size)

    def child_on(self, dataset: Dataset, channels: int | None = None) -> Network:
        """What is retrained, at a width."""
        sizes = self.child if channels is None else replace(self.child, channels=channels)
        return _network(dataset, sizes, self.size)


def _network(dataset: Dataset, sizes: Sizes, size: tuple[int, int]) -> Network:
    return Network(
        skeleton="segmentation" if dataset.task == "segmentation" else "cifar",
        channels=sizes.channels,
        cells=sizes.cells,
        classes=len(dataset.classes.names),
        input=(3, *size),
        output_stride=sizes.output_stride,
        head_channels=sizes.head_channels,
    )


S3 = ("none", "skip_connect", "sep_conv_3x3")
"""A published space (S3 of Zela et al., ICLR 2020, where DARTS is known to fail) for minutes on a
CPU. Of the eight candidates a cell that learns for so short a time keeps pools and skips alone,
whether the weights warm up for a third of the search or for three quarters, and decides nothing;
of three each gets enough steps to be of use."""

# Rates of the weights and lengths, tuned by seeds that no table has: at 0.1 a loss of codes drawn
# at random rises above chance on CIFAR-10 and falls only as the rate does. The rate of the logits
# falls to 0: where it was constant, the last of so few epochs still changed a node of nearly every
# search, and none but one of nine had decided.
_RATE = 0.025

_CIFAR, _SEGMENTATION = RECIPES["default"]["cifar"], RECIPES["default"]["segmentation"]

CPU_CIFAR10 = Study(
    search=SearchRecipe(
        supernet=Sizes(8, 3),
        size=(16, 16),
        batch_size=32,
        epochs=36,
        warm_up=16,
        longest_epoch=60,
        weight_rate=_RATE,
        last_architecture_rate=0.0,
        validation_samples=512,
        threads=1,
    ),
    child=Sizes(16, 8),
    size=(16, 16),
    macs=13_500_000,
    training=replace(_CIFAR, epochs=2),
    seeds=CIFAR10_SEEDS,
    candidates=S3,
)

CPU_CAMVID = Study(
    search=SearchRecipe(
        supernet=Sizes(8, 6, 16, 32),
        size=(96, 128),
        batch_size=8,
        epochs=50,
        warm_up=28,
        longest_epoch=22,
        weight_rate=_RATE,
        last_architecture_rate=0.0,
        validation_samples=101,
        threads=1,
    ),
    child=Sizes(14, 8, 16, 64),
    size=(120, 160),
    macs=63_000_000,
    training=replace(_SEGMENTATION, epochs=24),
    seeds=CAMVID_SEEDS,
)

GPU_CIFAR10 = Study(
    search=PAPER_CLASSIFICATION,
    child=Sizes(32, 20),
    size=(32, 32),
    macs=520_000_000,
    training=replace(RECIPES["paper"]["cifar"], epochs=100),
    seeds=CIFAR10_SEEDS,
)
"""The published search, and a sixth of the published retraining."""

GPU_CAMVID = Study(
    search=PAPER_SEGMENTATION,
    child=Sizes(14, 8, 16, 64),
    size=(360, 480),
    macs=562_000_000,
    training=replace(_SEGMENTATION, epochs=200, batch_size=16),
    seeds=CAMVID_SEEDS,
)

TINY_CIFAR10 = Study(
    search=SearchRecipe(
        supernet=Sizes(4, 3),
        size=(8, 8),
        batch_size=8,
        epochs=2,
        longest_epoch=1,
        validation_samples=8,
        threads=1,
    ),
    child=Sizes(4, 3),
    size=(8, 8),
    macs=200_000,
    training=replace(_CIFAR, epochs=1, batch_size=32),
    seeds=dict.fromkeys(("data-m4", "darts", BASELINE), 2),
)

TINY_CAMVID = Study(
    search=replace(TINY_CIFAR10.search, supernet=Sizes(4, 3, 8, 8), size=(16, 16)),
    child=Sizes(4, 3, 8, 8),
    size=(32, 32),
    macs=1_000_000,
    training=replace(_SEGMENTATION, epochs=1, batch_size=32),
    seeds=dict.fromkeys(("data-m4", HAND_MADE), 1),
)

SIZES: dict[str, dict[str, Study]] = {
    "cpu": {"cifar10": CPU_CIFAR10, "camvid": CPU_CAMVID},
    "gpu": {"cifar10": GPU_CIFAR10, "camvid": GPU_CAMVID},
    "tiny": {"cifar10": TINY_CIFAR10, "camvid": TINY_CAMVID},
}
"""cpu: hours on two cores. gpu: never run by us. tiny: seconds; its numbers mean nothing."""
