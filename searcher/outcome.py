"""The files that a finished search leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import datac
from datac.datasets.dataset import Dataset
from datac.documents.build_folder import GENOTYPE
from datac.documents.gap import Gap
from datac.documents.genotype import Provenance
from datac.documents.network import Network
from datac.documents.search_result import BoundResult, Option, SearchResult
from datac.documents.search_space import SearchSpace
from datac.installed import installed_version
from datac.output_folder import mark, write_beside
from searcher.derive import Derived
from searcher.gumbel import Layout
from searcher.weights_file import write_weights_file

RESULT = "search_result.json"
SUPERNET = "supernet.safetensors"

PACKAGES = ("torch", "lightning-fabric", "kornia", "numpy")
"""Those that can change what a search finds."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search found. network: the child's. supernet: None where it was not trained."""

    dataset: Dataset
    network: Network
    layout: Layout
    derived: Derived
    supernet: Mapping[str, Tensor] | None
    method: str
    draws: int | None
    seed: int
    epochs: int
    steps: int
    seconds: float
    device: str
    metrics: dict[str, float]
    bounds: tuple[BoundResult, ...]
    gap: Gap | None
    given: dict[str, Option]

    def result(self) -> SearchResult:
        """The document."""
        provenance = Provenance(
            method=self.method,
            draws=self.draws,
            seed=self.seed,
            dataset=self.dataset.name,
            dataset_digest=self.dataset.digest,
            versions=versions(),
        )
        return SearchResult(
            genotype=self.derived.genotype(self.network, provenance),
            space=SearchSpace(candidates=self.layout.candidates, nodes=self.layout.nodes),
            method=self.method,
            granularity=self.layout.granularity,
            draws=self.draws,
            distributions=self.derived.distributions,
            epochs=self.epochs,
            steps=self.steps,
            seconds=self.seconds,
            seed=self.seed,
            dataset=self.dataset.name,
            dataset_digest=self.dataset.digest,
            device=self.device,
            metrics=self.metrics,
            bounds=self.bounds or None,
            gap=self.gap,
            options=self.given,
            versions=versions(),
        )


def write_outcome(outcome: Outcome, folder: Path, copy_to: Path | None) -> SearchResult:
    """Write weights, result and genotype, and the copy; then mark the folder as finished."""
    result = outcome.result()
    if outcome.supernet is not None:
        write_weights_file(folder / SUPERNET, outcome.supernet)
    write_beside(folder / RESULT, result.to_json())
    write_beside(folder / GENOTYPE, result.genotype.to_json())
    if copy_to is not None:
        write_beside(copy_to, result.genotype.to_json())
    mark(folder, "run", finished=True)  # last: what is finished cannot be resumed
    return result


def versions() -> dict[str, str]:
    """Of datac and of what its searches depend on."""
    found = {package: installed_version(package) for package in PACKAGES}
    return {"datac": datac.__version__} | {name: v for name, v in found.items() if v is not None}
