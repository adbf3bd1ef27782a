"""The confusion matrix against the definition, and against numbers of torchmetrics."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datac.datasets.confusion import Confusion

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=60)


def test_by_hand():
    confusion = Confusion(classes=4, ignore_index=255)
    confusion.update(np.array([[0, 0], [1, 1]]), np.array([[0, 1], [1, 255]], dtype=np.uint8))
    assert confusion.per_class_iou == {0: 0.5, 1: 0.5}
    assert confusion.miou == 0.5
    assert confusion.accuracy == pytest.approx(2 / 3)


def test_a_class_only_predicted_counts_as_zero():
    confusion = Confusion(classes=3)
    confusion.update(np.array([0, 2]), np.array([0, 0]))
    assert confusion.per_class_iou == {0: 0.5, 2: 0.0}
    assert confusion.miou == 0.25


def test_single_answers():
    confusion = Confusion(classes=2)
    confusion.update(1, 1)
    confusion.update(0, 1)
    assert confusion.accuracy == 0.5


def test_nothing_is_not_a_number():
    confusion = Confusion(classes=2, ignore_index=7)
    confusion.update(np.array([1]), np.array([7]))
    assert confusion.per_class_iou == {}
    assert math.isnan(confusion.miou)
    assert math.isnan(confusion.accuracy)


@pytest.mark.parametrize(("prediction", "label"), [([0, 2], [0, 0]), ([0, -1], [0, 0]), ([0], [2])])
def test_outside_the_classes(prediction, label):
    with pytest.raises(ValueError, match=r"outside 0..1"):
        Confusion(classes=2).update(np.array(prediction), np.array(label))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ"):
        Confusion(classes=2).update(np.zeros((2, 1), int), np.zeros((1, 2), int))


@given(PAIRS)
def test_definition(pairs):
    prediction = np.array([p for p, _ in pairs], dtype=np.int64)
    label = np.array([n for _, n in pairs], dtype=np.int64)
    confusion = Confusion(classes=5, ignore_index=5)
    for at in range(len(pairs)):
        confusion.update(prediction[at : at + 1], label[at : at + 1])
    counted = label != 5
    for number in range(5):
        p, n = prediction[counted] == number, label[counted] == number
        if (p | n).any():
            assert confusion.per_class_iou[number] == (p & n).sum() / (p | n).sum()
        else:
            assert number not in confusion.per_class_iou


def test_numbers_of_torchmetrics():
    """What torchmetrics 1.9.0 answers to the same, with `ignore_index=9`.

    MulticlassConfusionMatrix, MulticlassJaccardIndex(average=None, zero_division=nan) and
    MulticlassAccuracy(average="micro").
    """
    confusion = Confusion(classes=5, ignore_index=9)
    confusion.update(
        np.array([[0, 1, 1, 1, 2, 0, 3], [2, 1, 0, 0, 2, 0, 2]]),
        np.array([[0, 0, 1, 1, 2, 2, 9], [2, 1, 0, 3, 9, 0, 1]]),
    )
    assert confusion.counts.tolist() == [
        [3, 1, 0, 0, 0],
        [0, 3, 1, 0, 0],
        [1, 0, 2, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert confusion.per_class_iou == pytest.approx({0: 0.5, 1: 0.6, 2: 0.5, 3: 0.0})
    assert confusion.miou == pytest.approx(0.4)
    assert confusion.accuracy == pytest.approx(0.6667, abs=1e-4)
