"""What a finished run leaves, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from fidelity_schedule import Name
from fidelity_sizes import ROWS, Study
from pydantic import Field, TypeAdapter, ValidationError

from datac.documents.document import Document
from datac.documents.gap import Gap
from datac.documents.genotype import Genotype
from datac.documents.read import MIB, read_bytes
from datac.documents.sentences import first_problem
from datac.documents.train_result import Score
from datac.errors import BadInput
from datac.output_folder import write_beside

RESULT, SETTINGS = "result.json", "settings.json"
LARGEST_RESULTS_BYTES = 64 * MIB
"""A run has about 5 kB."""

Settings = dict[str, str]
"""What must be equal for two runs to be compared: name → value, as JSON."""


class Searched(Document):
    """decided: None where there is nothing to judge, since nothing was searched."""

    decided: bool | None = None
    reasons: tuple[str, ...] = ()
    genotype: Genotype
    gap: Gap | None = None
    epochs: int
    steps: int
    seconds: float = Field(ge=0)


class Trained(Document):
    """A net trained from scratch. channels: the width of a child.

    latency_ms: of one image in ONNX Runtime on one thread; reference_ms: of the published cell
    `data-m4` at the common sizes, measured in turn with it.
    """

    channels: int | None = None
    parameters: int
    multiply_adds: int
    metric: Literal["accuracy", "miou"]
    best: Score
    last: Score
    epochs: int
    seconds: float = Field(ge=0)
    latency_ms: float
    reference_ms: float


class Record(Document):
    """One run (`datac.fidelity/1`). searched: None for a net made by hand."""

    schema_: Literal["datac.fidelity/1"] = Field(default="datac.fidelity/1", alias="schema")
    size: str
    data: str
    row: str
    seed: int
    settings: Settings
    searched: Searched | None = None
    trained: Trained
    dataset: str
    dataset_digest: str
    device: str
    commit: str | None = Field(default=None, description="with a + where files differ from it")
    finished: str = Field(description="day, UTC")
    versions: dict[str, str] = Field(default={})

    @property
    def name(self) -> Name:
        """Which run."""
        return Name(self.data, self.row, self.seed)

    @property
    def counts(self) -> bool:
        """Whether it counts where only searches that decided do."""
        return self.searched is None or self.searched.decided is not False

    @property
    def metric(self) -> float:
        """Of the retrained net, after the last epoch."""
        return self.trained.last.metric

    @property
    def seconds(self) -> float:
        """Of search and training."""
        return self.trained.seconds + (self.searched.seconds if self.searched else 0.0)


def settings_of(study: Study, row: str) -> Settings:
    """Of a run of that row. What is only text is left out, and the seeds, which may grow."""
    recipes = TypeAdapter(Study).dump_python(study, mode="json")
    recipes["training"].pop("source")
    recipes.pop("seeds")
    method = ROWS[row]
    values = {"method": None if method is None else method.identity(), **recipes}
    return {name: json.dumps(value) for name, value in _flat(values)}


def _flat(values: Mapping[str, object], before: str = "") -> Iterable[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        else:
            yield f"{before}{name}", value


def check_same(made: Settings, asked: Settings, where: object) -> None:
    """BadInput that names the first setting by which a run differs from what is asked."""
    for name in dict.fromkeys([*asked, *made]):
        if made.get(name) != asked.get(name):
            raise BadInput(
                f"{where} was made with {name} {made.get(name)}, not {asked.get(name)}; move it "
                "away, or give another folder"
            )


def claim(folder: Path, settings: Settings) -> None:
    """Say what the run in `folder` is made with. BadInput where it was begun otherwise."""
    check_claim(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    write_beside(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")


def check_claim(folder: Path, settings: Settings) -> None:
    """BadInput where a run was begun in `folder` with other settings."""
    path = folder / SETTINGS
    if path.is_file():
        check_same(json.loads(read_bytes(path, MIB)), settings, folder)


def finished_runs(out: Path, results: Path | None, size: str) -> dict[Name, Record]:
    """Those of `size` in the folders of `out` and in the file `results`, which wins."""
    found = [_parse(path.read_bytes(), path) for path in sorted(out.glob(f"*/*/*/{RESULT}"))]
    if results is not None and results.is_file():
        lines = read_bytes(results, LARGEST_RESULTS_BYTES).splitlines()
        found += [_parse(line, f"{results}: line {n}") for n, line in enumerate(lines, start=1)]
    return {record.name: record for record in found if record.size == size}


def write_results(path: Path, records: Iterable[Record], size: str) -> None:
    """All of them, sorted, a line each; lines of other sizes stay."""
    others: Sequence[Record] = ()
    if path.is_file():
        lines = read_bytes(path, LARGEST_RESULTS_BYTES).splitlines()
        others = [r for line in lines if (r := _parse(line, path)).size != size]
    everything = sorted([*others, *records], key=lambda record: (record.size, record.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_beside(path, "".join(f"{r.model_dump_json(exclude_none=True)}\n" for r in everything))


def _parse(raw: bytes, where: object) -> Record:
    try:
        return Record.model_validate_json(raw)
    except ValidationError as error:
        raise BadInput(f"{where}: {first_problem(error, Record)}") from error
