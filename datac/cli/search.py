"""`datac search`: from a data set to a genotype.

datac search
datac search --data ./CamVid --epochs 20
datac search --data cifar10:./cifar-10-batches-py -M 7 --recipe paper --device cuda
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from datac.cli.options import (
    POSITIVE,
    NetworkOptions,
    RunOptions,
    network_from,
    network_options,
    run_options,
)
from datac.errors import BadInput
from datac.output_folder import check_writable_file

if TYPE_CHECKING:
    from datac.datasets.dataset import Dataset
    from datac.documents.search_result import Option, SearchResult
    from searcher.recipes import Sizes
    from searcher.search import SearchOptions

COPY = Path("genotype.json")
Task = Literal["segmentation", "classification"]


@click.command()
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
    default=4,
    show_default=True,
    help="Draws a code: at most so many paths of a node.",
)
@click.option("--epochs", type=POSITIVE, metavar="N", help="How long.  [default: the recipe's]")
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
    "--granularity",
    type=click.Choice(["node", "edge"]),
    default="node",
    show_default=True,
    help="What shares a distribution: all paths of a node, or those from one input.",
)
@click.option(
    "--aggregation",
    type=click.Choice(["sum", "mean"]),
    default="sum",
    show_default=True,
    help="What a node makes of its paths, in the search and in the child.",
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
    _print(result, out)


@dataclass(frozen=True)
class _Asked:
    """The command line."""

    data: str | None
    task: Task | None
    draws: int
    epochs: int | None
    recipe: Literal["default", "paper"]
    granularity: Literal["node", "edge"]
    aggregation: Literal["sum", "mean"]
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
        from searcher.recipes import recipe_for
        from searcher.search import SearchOptions

        given = self.network_options
        recipe = recipe_for(self.recipe, dataset, given.network)
        epochs = self.epochs or recipe.epochs
        size = self.run_options.crop or (given.input or (3, *recipe.size))[1:]
        sample = (3 if given.input is None else given.input[0], *size)
        recipe = replace(
            recipe,
            size=size,
            epochs=epochs,
            warm_up=recipe.warm_up * epochs // recipe.epochs,
            batch_size=self.run_options.batch_size or recipe.batch_size,
            precision=self.run_options.fabric_precision,
        )
        searched = _with_defaults(replace(given, input=sample), recipe.supernet)
        child = _with_defaults(
            replace(given, input=given.input or sample), recipe.child or recipe.supernet
        )
        return SearchOptions(
            network=network_from(searched, dataset=dataset),
            child=network_from(child, dataset=dataset),
            recipe=recipe,
            draws=self.draws,
            granularity=self.granularity,
            aggregation=self.aggregation,
            seed=self.run_options.seed,
            given=self._given(),
        )

    def _given(self) -> dict[str, Option]:
        """What was given, sizes as they are written."""
        values = {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            **vars(self.network_options),
            **vars(self.run_options),
        }
        del values["network_options"], values["run_options"]
        return {
            name: "x".join(map(str, value)) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }


def _with_defaults(given: NetworkOptions, sizes: Sizes) -> NetworkOptions:
    """The recipe's sizes where the command line has none."""
    defaults = {field.name: getattr(sizes, field.name) for field in fields(sizes)}
    missing = {name: value for name, value in defaults.items() if getattr(given, name) is None}
    return replace(given, **missing)


def _print(result: SearchResult, out: Path) -> None:
    from datac.documents.text_forms import to_text

    click.echo(to_text(result.genotype), nl=False)
    metrics = "".join(
        f", {name} {value:.3f} inside the supernet"
        for name, value in result.metrics.items()
        if not name.endswith("loss")
    )
    click.echo(f"{result.steps} steps in {result.seconds:.0f} s{metrics}")
    click.echo(f"wrote {out / 'genotype.json'} and ./{COPY}")
