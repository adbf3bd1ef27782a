"""Decisions that differ: ties are told from faults by the margin, and from both by the border."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datac.documents.report import Disagreement
from exporters.disagreement import LARGEST_MARGIN, Disagreements, near_border, why_clear


def logits(margin):
    """(2, 1, 2), RMS 1: the first pixel is decided by `margin`, the second by 2."""
    first = np.array([[1 + margin, -1.0], [1.0, 1.0]])
    return (first / np.sqrt(np.mean(np.square(first))))[:, None, :]


@given(st.floats(0.1, 100))
def test_a_tie_is_what_rounding_can_turn(ratio):
    """Golden: a margin of 2e-3, of logits about 1, is `ratio` predicted errors of 2e-3 / ratio."""
    values = logits(2e-3)
    found = Disagreements(predicted=2e-3 / ratio)
    found.add(values, np.array([[1, 1]]), np.array([[0, 1]]))
    document = found.document()
    assert document.count == 1
    assert document.largest_margin == pytest.approx(ratio, rel=1e-2)
    if abs(ratio - LARGEST_MARGIN) > 1:
        assert document.clear == int(ratio > LARGEST_MARGIN)


def test_where_all_agree_there_is_nothing():
    found = Disagreements(predicted=1e-6)
    found.add(logits(0.5), np.array([[0, 1]]), np.array([[0, 1]]))
    assert found.document() == Disagreement(count=0, clear=0, largest_margin=0.0)
    assert why_clear(found.document(), "torch") is None


def test_an_image_as_a_whole_has_no_border():
    found = Disagreements(predicted=1e-3)
    found.add(np.array([1.0, 0.0]), np.array(1), 1)
    assert found.document().at_border is None
    assert found.document().clear == 1


def test_the_border_is_within_two_pixels_of_another_label():
    label = np.zeros((7, 7), int)
    label[:, 4:] = 1
    assert near_border(label).tolist() == [[False, False, True, True, True, True, False]] * 7
    assert not near_border(np.zeros((1, 1), int)).any()
    found = Disagreements(predicted=1.0)
    values = np.zeros((2, 7, 7))
    values[0] = 1
    answer = np.zeros((7, 7), int)
    answer[0, 0] = answer[0, 3] = 1
    found.add(values, answer, label)
    assert found.document().at_border == 0.5


def test_what_is_clear_is_said_in_a_sentence():
    found = Disagreement(count=9, clear=2, largest_margin=1234.5)
    assert why_clear(found, "torch") == (
        "2 decisions of 9 that differ from torch's have margins up to 1.23e+03 times the rounding "
        "that is predicted"
    )
