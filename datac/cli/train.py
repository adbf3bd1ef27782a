"""`datac train`: from a genotype and a data set to a child's weights.

datac train genotype.json --data ./CamVid
datac train data-m4 --data ./CamVid --crop 180x240 --channels 16 --cells 8 --head-channels 64
datac train genotype.json --data ./CamVid --inherit run
datac train child/genotype.json --data ./CamVid --network segmentation --backbone child --out seg
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from datac.documents.network import Network
    from datac.documents.train_result import Option, Score, TrainResult
    from searcher.train import TrainOptions

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("genotype")
@click.option(
    "--data",
    metavar="DATASET",
    required=True,
    help="shapes, shapes-classification (embedded), a folder, or FAMILY:FOLDER.",
)
@click.option(
    "--inherit", type=FOLDER, metavar="RUN", help="Begin with the weights of this search."
)
@click.option(
    "--backbone",
    type=FOLDER,
    metavar="CHILD",
    help="Begin with stem and cells of this child, trained with --network imagenet; the head is "
    "fresh.",
)
@click.option(
    "--weights",
    type=FOLDER,
    metavar="CHILD",
    help="Begin with all weights of this child of the same network: datac prune leaves one.",
)
@click.option(
    "--out", type=FOLDER, default="child", show_default=True, metavar="CHILD", help="Where to."
)
@click.option("--epochs", type=POSITIVE, metavar="N", help="How long.  [default: the recipe's]")
@click.option(
    "--learning-rate",
    type=RATE,
    metavar="RATE",
    help="The largest.  [default: the recipe's]",
)
@click.option(
    "--recipe",
    type=click.Choice(["default", "paper"]),
    default="default",
    show_default=True,
    help="default: for minutes on two cores. paper: the published settings.",
)
@network_options
@run_options
def train(genotype: str, data: str, out: Path, **values: Any) -> None:
    """Train the network of a genotype on a data set.

    Writes the weights that were best on the validation split to CHILD/weights.safetensors, and
    CHILD/genotype.json, which carries the network. Samples have the size of --crop, else of the
    network's input.

    \b
    datac train genotype.json --data ./CamVid
    datac compile child/genotype.json --weights child --target onnx
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.datasets import open_dataset
    from datac.documents.read import read_genotype

    read, dataset = read_genotype(genotype), open_dataset(data)
    run: RunOptions = values["run_options"]
    given: NetworkOptions = values["network_options"]
    if run.crop is not None:
        given = replace(given, input=(3, *run.crop))
    network = network_from(given, read, dataset)

    with held_back():
        from searcher.train import train as run_training

    result = run_training(
        read,
        dataset,
        _options(network, values | {"genotype": genotype, "data": data}),
        out,
        device=run.device,
        resume=run.resume,
        restart=run.restart,
    )
    _print(result, out)


def _options(network: Network, values: dict[str, Any]) -> TrainOptions:
    """The recipe's, but for what the command line says."""
    from searcher.start import Sources
    from searcher.train import TrainOptions
    from searcher.train_recipes import RECIPES

    run: RunOptions = values["run_options"]
    recipe = RECIPES[values["recipe"]][network.skeleton]
    changes = {
        "epochs": values["epochs"],
        "batch_size": run.batch_size,
        "learning_rate": values["learning_rate"],
        "precision": run.fabric_precision,
    }
    return TrainOptions(
        network=network,
        recipe=replace(recipe, **{name: each for name, each in changes.items() if each}),
        recipe_name=values["recipe"],
        seed=run.seed,
        sources=Sources(values["inherit"], values["backbone"], values["weights"]),
        given=_given(values),
    )


def _given(values: dict[str, Any]) -> dict[str, Option]:
    """What was given, sizes as they are written."""
    flat = {name: value for name, value in values.items() if not name.endswith("_options")}
    for options in (values["network_options"], values["run_options"]):
        flat |= {each.name: getattr(options, each.name) for each in fields(options)}
    # A flag that was not set was not given; a seed of 0 is not such a flag.
    given = {name: value for name, value in flat.items() if value is not None}
    return {name: _plain(value) for name, value in given.items() if value is not False}


def _plain(value: Any) -> Option:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return value if isinstance(value, str | int | float) else str(value)


def _print(result: TrainResult, out: Path) -> None:
    from datac.documents.sentences import counted

    for name, score in (("best", result.best), ("last", result.last)):
        click.echo(f"{name}: {_sentence(score)}")
    click.echo(f"{counted(result.steps, 'step')} in {result.seconds:.0f} s")
    click.echo(f"wrote {out / 'weights.safetensors'} and {out / 'genotype.json'}")


def _sentence(score: Score) -> str:
    miou = "" if score.miou is None else f"mIoU {score.miou:.4f}, "
    return f"epoch {score.epoch}, {miou}accuracy {score.accuracy:.4f}, loss {score.loss:.4f}"
