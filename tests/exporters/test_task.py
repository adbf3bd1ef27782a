"""The judge of the task, against sums done by hand."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from datac.datasets.dataset import Sample
from datac.documents.network import Classes, Preprocessing
from datac.errors import BadInput
from exporters.task import PICTURES, evaluate_runners, labelled_inputs

CLASSES = Classes(
    names=("sky", "road", "car"), colors=((0, 0, 9), (9, 0, 0), (0, 9, 0)), ignore_index=255
)


def dataset_of(task, samples, classes=CLASSES):
    return SimpleNamespace(name="played", task=task, classes=classes, splits={"val": samples})


class Played:
    """A runner that answers class maps, or class numbers, one after the other."""

    device, threads = "cpu", 1

    def __init__(self, answers):
        self.answers, self.seen = iter(answers), []

    def run(self, inputs):
        self.seen.append(inputs["input"])
        answer = np.asarray(next(self.answers))
        return {"logits": np.moveaxis(np.eye(3, dtype=np.float32)[answer], -1, 0)[None]}


def grey(value, size=(2, 2)):
    return np.full((*size, 3), value, np.uint8)


@pytest.fixture
def segmentation(networks):
    """Two samples of 2x2; one pixel of the second is to be ignored."""
    labels = (np.array([[0, 0], [1, 1]], np.uint8), np.array([[1, 1], [2, 255]], np.uint8))
    samples = [Sample(f"s{i}", grey(i), label) for i, label in enumerate(labels)]
    network = networks.segmentation.model_copy(update={"input": (3, 2, 2)})
    return labelled_inputs(dataset_of("segmentation", samples), network, "val")


def test_miou_and_agreement_by_hand(segmentation):
    """`good` errs once: label 1 seen as 0.  `bad` errs there and once more: label 2 seen as 1.

    good: IoU 0 = 2/3, 1 = 3/4, 2 = 1/1.   bad: 0 = 2/3, 1 = 3/5, 2 = 0/1.
    They differ in 1 pixel of 8; the ignored pixel counts for agreement, not for the metric.
    """
    good = [[[0, 0], [1, 0]], [[1, 1], [2, 0]]]
    bad = [[[0, 0], [1, 0]], [[1, 1], [1, 0]]]
    runners = {"good": Played(good), "bad": Played(bad)}
    metrics = evaluate_runners(runners, segmentation, reference="good").metrics
    assert metrics["good"].per_class == pytest.approx({"sky": 2 / 3, "road": 3 / 4, "car": 1})
    assert metrics["bad"].per_class == pytest.approx({"sky": 2 / 3, "road": 3 / 5, "car": 0})
    assert metrics["good"].value == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)
    assert metrics["bad"].value == pytest.approx((2 / 3 + 3 / 5 + 0) / 3)
    assert (metrics["good"].agreement, metrics["bad"].agreement) == (1.0, 7 / 8)
    assert {(m.name, m.samples) for m in metrics.values()} == {("miou", 2)}


def test_accuracy_and_agreement_by_hand(networks):
    """Labels 0 1 2 1; one runner errs once, the other twice, and they differ three times."""
    samples = [Sample(str(i), grey(i), label) for i, label in enumerate((0, 1, 2, 1))]
    network = networks.classification.model_copy(update={"input": (3, 2, 2)})
    data = labelled_inputs(dataset_of("classification", samples), network, "val")
    runners = {"a": Played([0, 1, 2, 2]), "b": Played([1, 0, 2, 1])}
    result = evaluate_runners(runners, data, reference="a")
    metrics = result.metrics
    assert result.reference == metrics["a"]
    assert (metrics["a"].value, metrics["b"].value) == (0.75, 0.5)
    assert (metrics["a"].agreement, metrics["b"].agreement) == (1.0, 0.25)
    assert {(m.name, m.samples) for m in metrics.values()} == {("accuracy", 4)}


def test_without_a_reference_there_is_no_agreement(segmentation):
    answers = [[[0, 0], [1, 1]], [[1, 1], [2, 0]]]
    result = evaluate_runners({"a": Played(answers)}, segmentation)
    assert result.metrics["a"].value == 1
    assert result.metrics["a"].agreement is result.reference is None
    assert evaluate_runners({}, segmentation).masks == ()


def decoded(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_masks_are_pngs_in_the_colors_of_the_classes(segmentation):
    answer = [[[0, 1], [2, 0]], [[1, 1], [2, 0]]]
    first, second = evaluate_runners({"a": Played(answer)}, segmentation).masks
    assert (first.sample, second.sample) == ("s0", "s1")
    assert (decoded(second.input) == 1).all()
    colors = np.array(CLASSES.colors)
    assert np.array_equal(decoded(first.predictions["a"]), colors[answer[0]])
    assert np.array_equal(decoded(first.label), colors[[[0, 0], [1, 1]]])
    assert decoded(second.label)[1, 1].tolist() == [0, 0, 0], "ignored pixels are black"


def test_only_the_first_samples_are_pictured(networks):
    samples = [Sample(str(i), grey(i), np.zeros((2, 2), np.uint8)) for i in range(PICTURES + 3)]
    network = networks.segmentation.model_copy(update={"input": (3, 2, 2)})
    data = labelled_inputs(dataset_of("segmentation", samples), network, "val")
    answers = [np.zeros((2, 2), int)] * len(samples)
    assert len(evaluate_runners({"a": Played(answers)}, data).masks) == PICTURES


def test_images_and_labels_come_at_the_networks_size(networks):
    """Whatever size the preprocessing says that the network was trained at."""
    sample = Sample("s", grey(255, (6, 10)), np.ones((6, 10), np.uint8))
    how = Preprocessing(mean=(0.5,) * 3, standard_deviation=(0.25,) * 3, resize=(64, 64))
    network = networks.segmentation.model_copy(update={"input": (3, 4, 5), "preprocessing": how})
    data = labelled_inputs(dataset_of("segmentation", [sample]), network, "val")
    x = data.input(sample)
    assert x.shape == (1, 3, 4, 5)
    assert x == pytest.approx(2.0), "(1 - 0.5) / 0.25"
    assert data.label(sample).shape == (4, 5)


def test_what_the_runner_sees_is_the_preprocessed_image(segmentation):
    runner = Played([np.zeros((2, 2), int)] * 2)
    evaluate_runners({"a": runner}, segmentation)
    for seen, sample in zip(runner.seen, segmentation.samples, strict=True):
        assert np.array_equal(seen, segmentation.input(sample))


def test_progress_reaches_the_end(segmentation):
    heard = []
    runner = Played([np.zeros((2, 2), int)] * 2)
    evaluate_runners({"a": runner}, segmentation, lambda what, share: heard.append((what, share)))
    assert heard == [("metric", 0.5), ("metric", 1.0)]


@pytest.mark.parametrize(("most", "names"), [(None, 9), (100, 9), (3, ["0", "4", "8"]), (1, ["0"])])
def test_samples_are_spread_evenly(networks, most, names):
    samples = [Sample(str(i), grey(i), 0) for i in range(9)]
    data = labelled_inputs(
        dataset_of("classification", samples), networks.classification, "val", most
    )
    chosen = [sample.name for sample in data.samples]
    assert chosen == names if most in (1, 3) else len(chosen) == names


@pytest.mark.parametrize(
    ("task", "classes", "split", "said"),
    [
        ("segmentation", CLASSES, "val", "labelled for segmentation, the network answers class"),
        ("classification", Classes(names=("a", "b")), "val", "has 2 classes, the network answers"),
        ("classification", CLASSES, "test", "has no split test; it has val"),
    ],
)
def test_data_that_does_not_fit_is_refused(networks, task, classes, split, said):
    with pytest.raises(BadInput, match=said):
        labelled_inputs(dataset_of(task, [], classes), networks.classification, split)
