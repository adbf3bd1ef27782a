"""Trainings of seconds, for the tests of `datac train`."""

from dataclasses import replace

from datac.datasets import open_dataset
from datac.documents.network import Network
from datac.published import load
from searcher.start import Sources
from searcher.train import TrainOptions, train
from searcher.train_recipes import RECIPES

SEGMENTATION = Network(
    skeleton="segmentation",
    channels=4,
    cells=3,
    classes=6,
    input=(3, 32, 32),
    output_stride=16,
    head_channels=4,
)
IMAGENET = Network(skeleton="imagenet", channels=4, cells=3, classes=5, input=(3, 32, 32))
CIFAR = IMAGENET.model_copy(update={"skeleton": "cifar"})
RECIPE = replace(RECIPES["default"]["segmentation"], epochs=2, batch_size=4, drop_path=0.2)
GENOTYPE = load("data-m4")


def data(task="segmentation", train=8, val=4):
    """A few samples of the embedded data set."""
    dataset = open_dataset("shapes" if task == "segmentation" else "shapes-classification")
    counts = {"train": train, "val": val}
    return replace(
        dataset, splits={name: dataset.splits[name][:count] for name, count in counts.items()}
    )


def trained(out, network=SEGMENTATION, recipe=RECIPE, genotype=GENOTYPE, **changes):
    """The result of a training into the folder `out`."""
    folders = ("inherit", "backbone", "weights")
    sources = Sources(**{name: changes.pop(name) for name in folders if name in changes})
    options = {"seed": changes.pop("seed")} if "seed" in changes else {}
    task = "segmentation" if network.task == "segmentation" else "classification"
    dataset = changes.pop("dataset", None) or data(task)
    asked = TrainOptions(network=network, recipe=recipe, sources=sources, **options)
    return train(genotype, dataset, asked, out, device="cpu", quiet=True, **changes)
