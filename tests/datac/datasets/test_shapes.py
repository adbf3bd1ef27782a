"""The embedded data sets: the same pixels everywhere, and not solvable by colour."""

import hashlib

import numpy as np
import pytest

from datac.datasets import open_dataset
from datac.datasets.confusion import Confusion

# Made by this code on x86-64 with numpy 2.4; a difference means that the data set changed, so
# raise `shapes.VERSION` with it.
GOLDEN = {
    "shapes": "97768b90d0c30cdce6182477fdc6ecc4c8a718470a229e40a5099b921d3c24b5",
    "shapes-classification": "7e65ea8062e2164db5d78417ad2835465fe33ea5c1ba40a94b1468120bd3bfa1",
}


@pytest.mark.parametrize(("name", "expected"), GOLDEN.items())
def test_pixels_are_pinned(name, expected):
    sha = hashlib.sha256()
    for samples in open_dataset(name).splits.values():
        for index in (0, 1, -1):
            sha.update(samples[index].image.tobytes())
            sha.update(np.asarray(samples[index].label, dtype=np.uint8).tobytes())
    assert sha.hexdigest() == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_splits_are_held_out_and_repeatable(name):
    dataset = open_dataset(name)
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {
        "train": 512,
        "val": 128,
        "test": 128,
    }
    first = [samples[3].image for samples in dataset.splits.values()]
    assert not any((first[0] == other).all() for other in first[1:])
    assert (dataset.splits["train"][3].image == first[0]).all()
    assert dataset.digest == open_dataset(name).digest


def test_every_class_occurs_and_objects_overlap():
    dataset = open_dataset("shapes")
    labels = np.stack([sample.label for sample in dataset.splits["train"][:100]])
    shares = np.bincount(labels.ravel(), minlength=6) / labels.size
    assert 0.5 < shares[0] < 0.85
    assert (shares[1:] > 0.02).all()


def test_classes_are_balanced():
    labels = [sample.label for sample in open_dataset("shapes-classification").splits["val"]]
    assert set(labels) == set(range(5))
    assert max(map(labels.count, range(5))) < 0.35 * len(labels)


def test_colour_alone_does_not_solve_it():
    """A table from coarse colour to its most frequent class scores little on other images."""
    dataset = open_dataset("shapes")
    counts = np.zeros((64, 6), dtype=np.int64)
    codes, labels = coarse_colors(dataset.splits["train"][:100])
    np.add.at(counts, (codes, labels), 1)
    codes, labels = coarse_colors(dataset.splits["val"][:100])
    confusion = Confusion(6)
    confusion.update(counts.argmax(axis=1)[codes], labels)
    # The background alone gives 0.12; a small net of convolutions reaches 0.6 in half a minute.
    assert confusion.miou < 0.25


def coarse_colors(samples):
    """Two bits a channel, and the class, of every pixel."""
    colors = np.stack([sample.image for sample in samples]).reshape(-1, 3).astype(np.int64) // 64
    return colors @ [16, 4, 1], np.stack([sample.label for sample in samples]).ravel()
