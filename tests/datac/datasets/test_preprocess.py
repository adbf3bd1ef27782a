"""Preprocessing in numpy."""

import numpy as np
import pytest

from datac.datasets import open_dataset
from datac.datasets.preprocess import (
    preprocess,
    published_preprocessing,
    resize_image,
    resize_label,
)
from datac.documents.network import Preprocessing

PIXEL = np.array([[[255, 51, 0]]], dtype=np.uint8)


def test_formula_and_layout():
    how = Preprocessing(mean=(0.5, 0.1, 0.0), standard_deviation=(0.5, 0.2, 1.0))
    result = preprocess(np.repeat(PIXEL, 3, axis=1), how)
    assert result.dtype == np.float32
    assert result.shape == (3, 1, 3)
    assert result.flags["C_CONTIGUOUS"]
    assert result[:, 0, 0] == pytest.approx([1.0, 0.5, 0.0])


def test_bgr_turns_channels_before_the_mean():
    how = Preprocessing(color_order="BGR", mean=(0, 0, 1), standard_deviation=(1, 1, 1))
    assert preprocess(PIXEL, how)[:, 0, 0] == pytest.approx([0.0, 0.2, 0.0])


def test_resize_is_height_by_width():
    how = Preprocessing(resize=(2, 5), mean=(0, 0, 0), standard_deviation=(1, 1, 1))
    assert preprocess(np.zeros((7, 3, 3), np.uint8), how).shape == (3, 2, 5)


def test_resized_labels_hold_only_values_that_were_there():
    label = np.random.default_rng(0).choice([0, 7, 255], (31, 17)).astype(np.uint8)
    for size in ((62, 34), (5, 50), (31, 17)):
        resized = resize_label(label, size)
        assert resized.shape == size
        assert set(np.unique(resized)) <= {0, 7, 255}


def test_a_flat_image_stays_flat():
    assert (resize_image(np.full((9, 5, 3), 77, np.uint8), (4, 12)) == 77).all()


# data sets' constants: DARTS (CIFAR-10), torchvision (ImageNet)
def test_published(camvid):
    assert published_preprocessing(open_dataset("shapes")).mean == (0.5, 0.5, 0.5)
    assert published_preprocessing(open_dataset(str(camvid))).mean == (0.485, 0.456, 0.406)


def test_published_cifar10(batch, tmp_path):
    batch("data_batch_1", [1, 2])
    how = published_preprocessing(open_dataset(str(tmp_path)))
    assert how.mean == (0.4914, 0.4822, 0.4465)
    assert how.standard_deviation == (0.2470, 0.2435, 0.2616)
