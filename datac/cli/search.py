"""`datac search`: from a data set to a genotype.

datac search
datac search --data ./CamVid --epochs 20
datac search --data cifar10:./cifar-10-batches-py -M 7 --recipe paper --device cuda
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from datac.cli.interruption import held_back
from datac.cli.options import (
    POSITIVE,
    RATE,
    NetworkOptions,
    RunOptions,
    network_from,
    network_options,
    run_options,
)
from datac.cli.sections import NETWORK, SectionedCommand
from datac.errors import BadInput
from datac.output_folder import check_writable_file
from datac.torchrun import own_place

if TYPE_CHECKING:
    from datac.datasets.dataset import Dataset
    from datac.documents.network import Network
    from datac.documents.search_result import Option, SearchResult
    from searcher.bounds import Limits
    from searcher.method_options import MethodOptions
    from searcher.recipes import Sizes
    from searcher.search import SearchOptions

COPY = Path("genotype.json")
Task = Literal["segmentation", "classification"]


SECTIONS = {
    "What is searched": (
        "candidates",
        "nodes",
        "draws",
        "granularity",
        "probabilities",
        "aggregation",
    ),
    "How it is searched": (
        "recipe",
        "method",
        "level",
        "adc",
        "epochs",
        "learning_rate",
        "batch_size",
        "crop",
    ),
    "What the child may cost": (
        "max_params",
        "max_macs",
        "max_latency_ms",
        "table",
        "foreign_table",
        "match_macs",
        "match_tolerance",
    ),
    "The network": NETWORK,
    "How it is run": ("device", "precision", "seed", "resume", "restart"),
}


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.option(
    "--data",
    metavar="DATASET",
    help="shapes, shapes-classification (embedded), a folder, or FAMILY:FOLDER.  "
    "[default: the embedded one of the task]",
)
@click.option(
    "--task",
    type=click.Choice(["segmentation", "classification"]),
    help="What is searched for.  [default: what the data set is labelled for]",
)
@click.option(
    "-M",
    "--draws",
    type=int,
    help="Draws a code: at most so many paths of a node (data, random).  [default: 4]",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=0),
    metavar="N",
    help="How long.  [default: the recipe's]",
)
@click.option(
    "--learning-rate",
    type=RATE,
    metavar="RATE",
    help="Of the weights, the largest.  [default: the recipe's]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="run",
    show_default=True,
    metavar="RUN",
    help="Folder to write.",
)
@click.option(
    "--recipe",
    type=click.Choice(["default", "paper"]),
    default="default",
    show_default=True,
    help="default: minutes on two cores. paper: the published settings, about a GPU day.",
)
@click.option(
    "--method",
    type=click.Choice(["data", "darts", "snas", "gdas", "random"]),
    default="data",
    show_default=True,
    help="How the cell is searched.",
)
@click.option(
    "--candidates",
    metavar="NAME,NAME,...",
    help="Operations to choose from; datac show --operations lists all.  [default: the published "
    "ones]",
)
@click.option("--nodes", type=POSITIVE, default=4, show_default=True, help="Nodes of a cell.")
@click.option(
    "--granularity",
    type=click.Choice(["node", "edge"]),
    help="What shares a distribution: all paths of a node, or those from one input.  [default: "
    "node for data and random, edge for the others]",
)
@click.option(
    "--level",
    type=click.Choice(["alternating", "single"]),
    help="Logits and weights learn in turn, each on its half of the data, or by one loss on all "
    "of it.  [default: single for snas, alternating for the others]",
)
@click.option(
    "--probabilities",
    type=click.Choice(["softmax", "clamp"]),
    help="What the logits are to the probabilities (data).  [default: softmax]",
)
@click.option(
    "--adc",
    type=float,
    metavar="WEIGHT",
    help="Of the architecture distribution constraint (data); 0.1 in the authors' code.  "
    "[default: 0]",
)
@click.option(
    "--match-macs",
    metavar="N|GENOTYPE",
    help="Multiply-adds of the child, or a genotype that has as many (random).",
)
@click.option(
    "--match-tolerance",
    type=float,
    metavar="SHARE",
    help="How far from --match-macs the child may be.  [default: 0.1]",
)
@click.option(
    "--aggregation",
    type=click.Choice(["sum", "mean"]),
    default="sum",
    show_default=True,
    help="What a node makes of its paths, in the search and in the child.",
)
@click.option("--max-params", type=int, metavar="N", help="Bound on the parameters of the child.")
@click.option(
    "--max-macs", type=int, metavar="N", help="Bound on the multiply-adds of the child, a sample."
)
@click.option(
    "--max-latency-ms",
    type=float,
    metavar="MS",
    help="Bound on the latency of the child, as --table adds it up.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Latency table for --max-latency-ms, as datac table makes it.",
)
@click.option(
    "--foreign-table",
    is_flag=True,
    help="It may be of another machine or runtime version, which the network is for.",
)
@network_options
@run_options
def search(out: Path, run_options: RunOptions, **values: Any) -> None:
    """Search a cell on a data set.

    Writes RUN/genotype.json, which carries its network, and copies it to ./genotype.json.
    Samples have the size of --crop, else of --input, else the recipe's.

    \b
    datac search
    datac search --data ./CamVid --epochs 20
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    check_writable_file(COPY)
    asked = _Asked(run_options=run_options, **values)
    with held_back():
        from searcher.search import search as run

    dataset = asked.dataset()
    result = run(
        dataset,
        asked.options(dataset),
        out,
        device=run_options.device,
        resume=run_options.resume,
        restart=run_options.restart,
        copy_to=COPY,
    )
    if own_place().rank == 0:
        _print(result, out)


@dataclass(frozen=True)
class _Asked:
    """The command line."""

    data: str | None
    task: Task | None
    draws: int | None
    epochs: int | None
    learning_rate: float | None
    recipe: Literal["default", "paper"]
    method: str
    candidates: str | None
    nodes: int
    granularity: Literal["node", "edge"] | None
    level: Literal["alternating", "single"] | None
    probabilities: Literal["softmax", "clamp"] | None
    adc: float | None
    match_macs: str | None
    match_tolerance: float | None
    aggregation: Literal["sum", "mean"]
    max_params: int | None
    max_macs: int | None
    max_latency_ms: float | None
    table: Path | None
    foreign_table: bool
    network_options: NetworkOptions
    run_options: RunOptions

    def dataset(self) -> Dataset:
        """The one that was named, or the embedded one; its task must be what was asked for."""
        from datac.datasets import open_dataset

        network = self.network_options.network
        classifies = self.task == "classification" or network in ("cifar", "imagenet")
        dataset = open_dataset(self.data or ("shapes-classification" if classifies else "shapes"))
        if self.task not in (None, dataset.task):
            raise BadInput(
                f"--task {self.task}: {dataset.name} is labelled for {dataset.task}; "
                "choose another data set or leave the option out"
            )
        return dataset

    def options(self, dataset: Dataset) -> SearchOptions:
        """The recipe's, but for what the command line says."""
        from compiler.candidates import SEARCH_SPACE
        from searcher.recipes import recipe_for
        from searcher.search import SearchOptions

        given = self.network_options
        recipe = recipe_for(self.recipe, dataset, given.network)
        epochs = recipe.epochs if self.epochs is None else self.epochs
        size = self.run_options.crop or (given.input or (3, *recipe.size))[1:]
        sample = (3 if given.input is None else given.input[0], *size)
        rate = self.learning_rate or recipe.weight_rate
        recipe = replace(
            recipe,
            size=size,
            weight_rate=rate,
            last_weight_rate=recipe.last_weight_rate * rate / recipe.weight_rate,
            epochs=epochs,
            warm_up=recipe.warm_up * epochs // recipe.epochs,
            batch_size=self.run_options.batch_size or recipe.batch_size,
            precision=self.run_options.fabric_precision,
        )
        searched = _with_defaults(replace(given, input=sample), recipe.supernet)
        asked = replace(given, input=given.input or sample)
        child = network_from(
            _with_defaults(asked, recipe.child or recipe.supernet), dataset=dataset
        )
        return SearchOptions(
            network=network_from(searched, dataset=dataset),
            child=child,
            recipe=recipe,
            method=self._method(child),
            candidates=_names(self.candidates) or SEARCH_SPACE,
            nodes=self.nodes,
            aggregation=self.aggregation,
            seed=self.run_options.seed,
            limits=self._limits(),
            given=self._given(),
        )

    def _method(self, child: Network) -> MethodOptions:
        """The method, and what was asked of it."""
        from searcher.method_options import MethodOptions

        return MethodOptions(
            self.method,
            granularity=self.granularity,
            level=self.level,
            draws=self.draws,
            probabilities=self.probabilities,
            adc=self.adc,
            match_macs=None if self.match_macs is None else _macs(self.match_macs, child),
            match_tolerance=self.match_tolerance,
        )

    def _limits(self) -> Limits:
        """The bounds; a table of another machine or time begins no search, but may end one."""
        from datac.cli.usable_table import usable_table
        from datac.documents.latency_table import LatencyTable
        from datac.documents.read import read_json
        from searcher.bounds import Limits

        table = None
        if self.foreign_table and self.table is None:
            raise BadInput("--foreign-table is for --table; give it too, or leave both out")
        if self.table is not None and self.run_options.resume:
            table = read_json(self.table, LatencyTable)
        elif self.table is not None:
            table = usable_table(self.table, foreign=self.foreign_table, may_be_foreign=True)
        return Limits(self.max_params, self.max_macs, self.max_latency_ms, table)

    def _given(self) -> dict[str, Option]:
        """What was given, sizes as they are written."""
        values = {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            **vars(self.network_options),
            **vars(self.run_options),
        }
        del values["network_options"], values["run_options"]
        return {name: _plain(value) for name, value in values.items() if value is not None}


def _with_defaults(given: NetworkOptions, sizes: Sizes) -> NetworkOptions:
    """The recipe's sizes where the command line has none."""
    defaults = {field.name: getattr(sizes, field.name) for field in fields(sizes)}
    missing = {name: value for name, value in defaults.items() if getattr(given, name) is None}
    return replace(given, **missing)


def _names(text: str | None) -> tuple[str, ...]:
    """The names between the commas."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def _macs(text: str, child: Network) -> int:
    """A number, or what the child of a genotype has."""
    from compiler.lower import lower
    from datac.documents.read import read_genotype

    if text.isdecimal():
        return int(text)
    return lower(read_genotype(text), child, keep_unread=True).cost().multiply_adds


def _plain(value: Any) -> Option:
    """Sizes as they are written, a file by its name."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value) if isinstance(value, Path) else cast("Option", value)


def _print(result: SearchResult, out: Path) -> None:
    from datac.documents.sentences import counted
    from datac.documents.text_forms import to_text
    from datac.report.bounds import bound_sentence
    from datac.report.gap import gap_sentence

    click.echo(to_text(result.genotype), nl=False)
    metrics = "".join(
        f", {name} {value:.3f} inside the supernet"
        for name, value in result.metrics.items()
        if not name.endswith("loss")
    )
    click.echo(f"{counted(result.steps, 'step')} in {result.seconds:.0f} s{metrics}")
    for bound in result.bounds or ():
        click.echo(bound_sentence(bound))
    if result.gap is not None:
        click.echo(gap_sentence(result.gap))
    click.echo(f"wrote {out / 'genotype.json'} and ./{COPY}")
