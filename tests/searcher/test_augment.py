"""Batches: the same for the same seed and epoch, and labels that stay on their pixels."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.datasets.dataset import Sample
from datac.datasets.preprocess import CENTRED, IMAGENET, preprocess
from datac.errors import BadInput
from searcher import augment
from searcher.augment import IGNORED, Augmentation, Batches, Share

VOID = 11


def segmentation(count=5, size=(16, 24), seed=0):
    """Images whose grey level says the class."""
    draws = np.random.default_rng(seed)
    for at in range(count):
        coarse = draws.integers(0, 4, (4, 4), dtype=np.uint8)
        label = np.kron(coarse, np.ones((size[0] // 4, size[1] // 4), dtype=np.uint8))
        image = np.repeat(label[:, :, None] * 60 + 30, 3, axis=2)
        yield Sample(str(at), image, label)


def classification(count=5, side=32):
    draws = np.random.default_rng(0)
    for at in range(count):
        yield Sample(str(at), draws.integers(1, 256, (side, side, 3), dtype=np.uint8), at % 3)


def batches_of(samples, task="segmentation", **changes):
    settings = {
        "task": task,
        "preprocessing": CENTRED,
        "size": (16, 24) if task == "segmentation" else (32, 32),
        "batch_size": 2,
        "seed": 7,
        "augment": True,
        "ignore_index": VOID if task == "segmentation" else None,
        "classes": 4,
    }
    split = samples if isinstance(samples, list) else list(samples)
    return Batches(split, **(settings | changes))


def both(task, **changes):
    return batches_of(
        segmentation() if task == "segmentation" else classification(), task, **changes
    )


def same(one, other):
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_classes_may_be_more_than_a_byte_can_number():
    pixel = np.zeros((1, 1, 3), dtype=np.uint8)
    samples = [Sample(str(number), pixel, number) for number in range(300)]
    settings = {"size": (1, 1), "batch_size": 300, "classes": 300, "augment": False}
    (batch,) = batches_of(samples, "classification", **settings).epoch(0)
    assert batch.labels.tolist() == list(range(300))


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_an_epoch_depends_on_seed_and_number_alone(task):
    batches = both(task)
    first = list(batches.epoch(3))
    torch.rand(5)  # the global generator has no part in it
    np.random.default_rng(0).random()
    assert all(map(same, first, both(task).epoch(3)))
    assert not any(map(same, first, batches.epoch(4)))
    assert not any(map(same, first, both(task, seed=8).epoch(3)))
    assert same(next(islice(both(task).epoch(3), 1, None)), first[1])


@given(samples=st.integers(1, 9), batch_size=st.integers(1, 9), drop_last=st.booleans())
@settings(max_examples=30, deadline=None)
def test_an_epoch_has_the_promised_number_of_batches(samples, batch_size, drop_last):
    batches = batches_of(
        segmentation(samples), batch_size=batch_size, drop_last=drop_last, augment=False
    )
    sizes = [len(batch.images) for batch in batches.epoch(0)]
    assert len(sizes) == len(batches) >= 1
    assert sum(sizes) == samples or (drop_last and samples - sum(sizes) < batch_size)
    assert set(sizes[:-1]) <= {batch_size}


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_a_validation_is_not_altered(task):
    samples = list(segmentation(size=(32, 48)) if task == "segmentation" else classification())
    batches = batches_of(samples, task, augment=False, drop_last=False, preprocessing=IMAGENET)
    images = torch.cat([batch.images for batch in batches.epoch(0)])
    labels = torch.cat([batch.labels for batch in batches.epoch(5)])
    how = IMAGENET.model_copy(update={"resize": batches.size})
    expected = np.stack([preprocess(sample.image, how) for sample in samples])
    assert np.array_equal(images.numpy(), expected)
    if task == "classification":
        assert labels.tolist() == [sample.label for sample in samples]
    else:
        assert np.array_equal(labels.numpy(), [sample.label[::2, ::2] for sample in samples])


def test_bgr_is_what_the_preprocessing_says():
    how = CENTRED.model_copy(update={"color_order": "BGR", "mean": (0.1, 0.2, 0.3)})
    samples = list(classification(2))
    batch = next(batches_of(samples, "classification", augment=False, preprocessing=how).epoch(0))
    assert np.array_equal(batch.images[1].numpy(), preprocess(samples[1].image, how))


def test_labels_stay_on_their_pixels():
    batches = batches_of(
        segmentation(8, size=(64, 96)),
        batch_size=8,
        size=(64, 96),
        augmentation=Augmentation(colour=0.0),
    )
    batch = next(batches.epoch(0))
    grey = (batch.images[:, 0] * 0.5 + 0.5) * 255
    counted = batch.labels != IGNORED
    found = ((grey - 30) / 60).round().long()
    assert counted.float().mean() > 0.4
    # Bilinear images and nearest labels differ at the borders between classes alone.
    assert (found == batch.labels)[counted].float().mean() > 0.9
    assert set(batch.labels.unique().tolist()) <= {IGNORED, 0, 1, 2, 3}


def test_what_lies_beyond_the_image_does_not_count():
    batches = batches_of(segmentation(), augmentation=Augmentation(scales=(0.5, 0.5), colour=0.0))
    batch = next(batches.epoch(0))
    outside = batch.labels == IGNORED
    assert 0.65 < outside.float().mean() < 0.85
    # The grey of every class differs from the mean, which is what padding shows.
    assert (batch.images[:, 0][outside] == 0).float().mean() > 0.8


def test_the_ignore_index_becomes_one_value():
    sample = Sample("void", np.zeros((16, 24, 3), np.uint8), np.full((16, 24), VOID, np.uint8))
    for altered in (True, False):
        batch = next(batches_of([sample] * 2, augment=altered).epoch(0))
        assert (batch.labels == IGNORED).all()


def test_without_scale_and_colour_only_flips_are_left():
    samples = list(segmentation(8))
    still = Augmentation(scales=(1.0, 1.0), colour=0.0)
    batch = next(batches_of(samples, batch_size=8, augmentation=still).epoch(0))
    labels = [sample.label for sample in samples]
    kinds = set()
    for found in batch.labels.numpy():
        assert any(
            np.array_equal(found, each) or np.array_equal(found, each[:, ::-1]) for each in labels
        )
        kinds.add(any(np.array_equal(found, each) for each in labels))
    assert kinds == {True, False}


def test_a_crop_is_a_window_of_the_padded_image():
    samples = list(classification(6))
    batch = next(batches_of(samples, "classification", batch_size=6).epoch(0))
    pixels = ((batch.images * 0.5 + 0.5) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    padded = [np.pad(sample.image, ((4, 4), (4, 4), (0, 0))) for sample in samples]
    windows = {
        each[top : top + 32, left : left + 32][:, ::flip].tobytes()
        for each in padded
        for top in range(9)
        for left in range(9)
        for flip in (1, -1)
    }
    assert all(image.tobytes() in windows for image in pixels)


def test_cutout_blanks_a_square():
    samples = list(classification(6))
    plain = next(batches_of(samples, "classification", batch_size=6).epoch(0)).images
    cut = Augmentation(cutout=16)
    blanked = next(batches_of(samples, "classification", batch_size=6, augmentation=cut).epoch(0))
    changed = (blanked.images != plain).any(dim=1)
    assert torch.equal(blanked.images == 0, (blanked.images == 0) & changed[:, None])
    for image in changed:
        rows, columns = image.any(1).nonzero(), image.any(0).nonzero()
        height, width = (int(x.max() - x.min()) + 1 for x in (rows, columns))
        assert 8 <= height <= 16
        assert 8 <= width <= 16


def test_a_split_too_large_to_keep_gives_the_same(monkeypatch):
    kept = list(both("segmentation").epoch(0))
    monkeypatch.setattr(augment, "CACHE_BYTES", 0)
    assert all(map(same, kept, both("segmentation").epoch(0)))


class Damaged(list):
    """A split whose files cannot be read."""

    def __getitem__(self, index):
        raise BadInput("b.png: truncated")


def test_damaged_data_is_refused_in_its_own_words():
    with pytest.raises(BadInput, match=r"b\.png"):
        next(batches_of(Damaged([0, 0])).epoch(0))


def test_a_label_outside_the_classes_is_refused():
    with pytest.raises(BadInput, match="label 3 is outside the 3 classes"):
        list(batches_of(segmentation(), classes=3).epoch(0))


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_the_shares_of_a_batch_make_up_the_batch(task):
    """What becomes of a sample does not depend on how many processes there are."""
    given = {"batch_size": 4, "augmentation": Augmentation(cutout=8)}
    whole = next(both(task, **given).epoch(3))
    shares = [next(both(task, **given, share=Share(rank, 2)).epoch(3)) for rank in range(2)]
    assert [len(share.labels) for share in shares] == [2, 2]
    assert torch.equal(torch.cat([share.labels for share in shares]), whole.labels)
    images = torch.cat([share.images for share in shares])
    torch.testing.assert_close(images, whole.images, rtol=0, atol=1e-6)
