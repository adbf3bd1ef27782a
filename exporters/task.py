"""The judge of the task: metric and agreement of every runner on labelled data, in numpy."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compiler.lower import INPUT, OUTPUT
from datac.datasets.confusion import Confusion
from datac.datasets.dataset import Dataset, Sample
from datac.datasets.preprocess import (
    preprocess,
    published_preprocessing,
    resize_image,
    resize_label,
)
from datac.documents.network import Color, Network
from datac.documents.report import Masks, Metric
from datac.documents.sentences import counted
from datac.errors import BadInput
from exporters.disagreement import Disagreements
from exporters.embedded import classes_of
from exporters.targets.target import Runner

PICTURES = 4
"""Samples that the report shows."""

Labels = NDArray[np.integer]


@dataclass
class _Tally:
    """What one runner answered so far."""

    confusion: Confusion
    agreed: int = 0
    compared: int = 0
    differences: Disagreements | None = None


@dataclass(frozen=True)
class TaskResult:
    """Metric by runner, that of the reference once more, and the pictures of the report."""

    metrics: dict[str, Metric]
    reference: Metric | None = None
    masks: tuple[Masks, ...] = ()


@dataclass(frozen=True)
class LabelledInputs:
    """Samples of a split as the network reads them: image at its input size, label likewise."""

    dataset: Dataset
    network: Network
    samples: Sequence[Sample] = field(repr=False)

    def input(self, sample: Sample) -> NDArray[np.float32]:
        """(1, C, H, W)."""
        how = self.network.preprocessing or published_preprocessing(self.dataset)
        image = resize_image(sample.image, self.network.input[1:])
        # The network's input decides the size; `resize` tells users of the file the usual one.
        return preprocess(image, how.model_copy(update={"resize": None}))[None]

    def label(self, sample: Sample) -> Labels | int:
        """(H, W) at the input size, or a class number."""
        if isinstance(sample.label, int):
            return sample.label
        return resize_label(sample.label, self.network.input[1:])


def labelled_inputs(
    dataset: Dataset, network: Network, split: str, most: int | None = None
) -> LabelledInputs:
    """The split's samples, at most `most` of them evenly spread; BadInput where they do not fit."""
    if dataset.task != network.task:
        raise BadInput(
            f"{dataset.name} is labelled for {dataset.task}, the network answers {network.task}"
        )
    if len(dataset.classes.names) != network.classes:
        classes = counted(len(dataset.classes.names), "class", "classes")
        raise BadInput(f"{dataset.name} has {classes}, the network answers {network.classes}")
    if split not in dataset.splits:
        raise BadInput(f"{dataset.name} has no split {split}; it has {', '.join(dataset.splits)}")
    samples = dataset.splits[split]
    if most is None or most >= len(samples):
        return LabelledInputs(dataset, network, samples)
    chosen = [samples[int(i)] for i in np.linspace(0, len(samples) - 1, most)]
    return LabelledInputs(dataset, network, chosen)


def evaluate_runners(
    runners: Mapping[str, Runner],
    inputs: LabelledInputs,
    progress: Callable[[str, float], None] | None = None,
    *,
    reference: str | None = None,
    predicted: Mapping[str, float] | None = None,
) -> TaskResult:
    """Run all samples through all runners. Agreement is with the runner called `reference`.

    predicted: the relative RMS error to expect of a runner's logits, by its name; of those the
    decisions that differ are told apart.
    """
    if not runners:
        return TaskResult({})
    network = inputs.network
    ignore = inputs.dataset.classes.ignore_index
    tallies = {name: _Tally(Confusion(network.classes, ignore)) for name in runners}
    for name, error in (predicted or {}).items():
        if name in tallies and name != reference:
            tallies[name].differences = Disagreements(error)
    masks = []
    for index, sample in enumerate(inputs.samples):
        x, label = inputs.input(sample), inputs.label(sample)
        outputs = {name: runner.run({INPUT: x}) for name, runner in runners.items()}
        answers = {name: classes_of(found)[0] for name, found in outputs.items()}
        _count(tallies, answers, label, outputs[reference][OUTPUT][0] if reference else None)
        if network.task == "segmentation" and index < PICTURES:
            masks.append(_picture(sample, answers, label, inputs))
        if progress is not None:
            progress("metric", (index + 1) / len(inputs.samples))
    metrics = {name: _metric(tally, inputs) for name, tally in tallies.items()}
    return TaskResult(metrics, metrics[reference] if reference else None, tuple(masks))


def _count(
    tallies: dict[str, _Tally],
    answers: Mapping[str, Labels],
    label: Labels | int,
    reference: NDArray[np.generic] | None,
) -> None:
    """reference: the logits that agreement is with."""
    decided = None if reference is None else reference.argmax(axis=0)
    for name, answer in answers.items():
        tally = tallies[name]
        tally.confusion.update(answer, label)
        if reference is None:
            continue
        tally.agreed += int(np.count_nonzero(answer == decided))
        tally.compared += int(np.size(answer))
        if tally.differences is not None:
            tally.differences.add(reference, answer, label)


def _metric(tally: _Tally, inputs: LabelledInputs) -> Metric:
    network, names = inputs.network, inputs.dataset.classes.names
    if network.task == "segmentation":
        value = tally.confusion.miou
        per_class = {names[index]: iou for index, iou in tally.confusion.per_class_iou.items()}
    else:
        value, per_class = tally.confusion.accuracy, {}
    return Metric(
        name="miou" if network.task == "segmentation" else "accuracy",
        value=value,
        samples=len(inputs.samples),
        agreement=tally.agreed / tally.compared if tally.compared else None,
        disagreement=None if tally.differences is None else tally.differences.document(),
        per_class=per_class,
    )


def _picture(
    sample: Sample, answers: Mapping[str, Labels], label: Labels | int, inputs: LabelledInputs
) -> Masks:
    image = resize_image(sample.image, inputs.network.input[1:])
    colors = inputs.dataset.classes.colors
    return Masks(
        sample=sample.name,
        input=_png(image),
        label=_png(_colored(np.asarray(label), colors)),
        predictions={name: _png(_colored(answer, colors)) for name, answer in answers.items()},
    )


def _colored(labels: Labels, colors: Sequence[Color]) -> NDArray[np.uint8]:
    """(H, W) class numbers → (H, W, 3); a number without a colour is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = np.array(colors, np.uint8).reshape(-1, 3)
    return table[labels.astype(np.uint8)]


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
