"""The searcher's measures are those of the engines, and both are what their definitions say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from datac.datasets.confusion import Confusion
from searcher.augment import IGNORED, Batch
from searcher.evaluate import evaluate, loss_for

CLASSES = 4


class Fixed(nn.Module):
    """Answers what it is told, whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.logits = iter(logits)
        self.modes = []

    def forward(self, x):
        self.modes.append((self.training, torch.is_inference_mode_enabled()))
        return {"logits": next(self.logits), "auxiliary": None}


class Given:
    """Batches that were made by hand."""

    def __init__(self, labels):
        self.labels = labels

    def epoch(self, number):
        for labels in self.labels:
            yield Batch(torch.zeros(len(labels), 3, 2, 2), labels)


def case(seed, shape, present, ignored):
    """(logits, labels) of two batches; only the first `present` classes occur."""
    draws = np.random.default_rng(seed)
    labels = [torch.from_numpy(draws.integers(0, present, shape)) for _ in range(2)]
    for each in labels:
        each[torch.from_numpy(draws.random(shape) < ignored)] = IGNORED
    logits = [
        torch.from_numpy(draws.normal(size=(shape[0], CLASSES, *shape[1:]))).float()
        for _ in range(2)
    ]
    for each in logits:
        each[:, present:] -= 100
    return logits, labels


@given(
    seed=st.integers(0, 10**6),
    present=st.integers(1, CLASSES),
    ignored=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=25, deadline=None)
def test_measures_agree_with_the_confusion_matrix_of_the_engines(seed, present, ignored):
    logits, labels = case(seed, (2, 3, 5), present, ignored)
    found = evaluate(Fixed(logits), Given(labels), CLASSES, "segmentation")
    confusion = Confusion(CLASSES, ignore_index=IGNORED)
    for one, other in zip(logits, labels, strict=True):
        confusion.update(one.argmax(1).numpy(), other.numpy())
    assert found.accuracy == confusion.accuracy
    assert found.per_class_iou == confusion.per_class_iou
    assert found.metric == found.miou == confusion.miou
    truth = np.concatenate([one.numpy().ravel() for one in labels])
    answer = np.concatenate([one.argmax(1).numpy().ravel() for one in logits])
    truth, answer = truth[truth != IGNORED], answer[truth != IGNORED]
    ious = [
        np.sum((truth == k) & (answer == k)) / np.sum((truth == k) | (answer == k))
        for k in range(CLASSES)
        if k in truth or k in answer
    ]
    assert found.accuracy == pytest.approx(np.mean(truth == answer))
    assert [*found.per_class_iou.values()] == pytest.approx(ious)
    assert found.miou == pytest.approx(np.mean(ious))


def test_classification_is_judged_by_accuracy():
    logits, labels = case(0, (6,), CLASSES, 0.0)
    found = evaluate(Fixed(logits), Given(labels), CLASSES, "classification")
    right = torch.cat(logits).argmax(1) == torch.cat(labels)
    assert found.metric == found.accuracy == pytest.approx(right.float().mean().item())
    assert found.miou is None
    expected = nn.functional.cross_entropy(torch.cat(logits), torch.cat(labels))
    assert found.loss == pytest.approx(expected.item(), rel=1e-6)


def test_the_module_is_judged_in_eval_mode_and_goes_back_to_its_own():
    logits, labels = case(0, (2, 3, 5), CLASSES, 0.0)
    for training in (True, False):
        module = Fixed(logits).train(training)
        evaluate(module, Given(labels), CLASSES, "segmentation")
        assert module.modes == [(False, True)] * 2
        assert module.training is training


@pytest.mark.parametrize(("task", "shape"), [("segmentation", (2, 3, 5)), ("classification", (6,))])
def test_nothing_to_count_gives_no_loss_and_no_measure(task, shape):
    logits, labels = case(0, shape, CLASSES, 1.1)
    found = evaluate(Fixed(logits), Given(labels), CLASSES, task)
    assert found.loss == 0
    assert math.isnan(found.metric)
    assert math.isnan(found.accuracy)
    assert found.per_class_iou == {}


def test_the_loss_is_the_mean_over_what_counts():
    logits, labels = case(1, (2, 3, 5), CLASSES, 0.3)
    ours = loss_for()(logits[0], labels[0])
    assert ours == pytest.approx(
        nn.functional.cross_entropy(logits[0], labels[0], ignore_index=IGNORED).item(), rel=1e-6
    )
