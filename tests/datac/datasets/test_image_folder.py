"""Images sorted by class."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datac.datasets import open_dataset
from datac.datasets.hold_out import hold_out
from datac.errors import BadInput


@pytest.fixture
def sorted_images(tmp_path, image):
    for split, count in (("train", 3), ("val", 1)):
        for kind in ("dog", "cat"):
            for number in range(count):
                image(f"{split}/{kind}/{number}.png")
    return tmp_path


def test_given_splits(sorted_images):
    dataset = open_dataset(str(sorted_images))
    assert dataset.name == sorted_images.name
    assert dataset.classes.names == ("cat", "dog")
    assert [sample.label for sample in dataset.splits["train"]] == [0, 0, 0, 1, 1, 1]
    assert dataset.splits["val"][1].name == "val/dog/0.png"


def test_one_folder_is_split_by_the_names(tmp_path, image, text):
    for kind, count in (("a", 20), ("b", 10), ("c", 1)):
        for number in range(count):
            image(f"{kind}/{number}.png")
    text("a/notes.txt", "not an image")
    dataset = open_dataset(str(tmp_path))
    train, val = dataset.splits["train"], dataset.splits["val"]
    assert (len(train), len(val)) == (28, 3)
    assert [sample.label for sample in val] == [0, 0, 1]
    names = [{sample.name for sample in split} for split in (train, val)]
    assert not names[0] & names[1]
    again = open_dataset(str(tmp_path))
    assert {sample.name for sample in again.splits["val"]} == names[1]
    assert again.digest == dataset.digest


def test_a_class_that_train_lacks(sorted_images, image):
    image("val/horse/0.png")
    with pytest.raises(BadInput, match="val/horse: the class has no images in the train split"):
        open_dataset(str(sorted_images))


def test_empty_val(sorted_images):
    shutil.rmtree(sorted_images / "val")
    (sorted_images / "val").mkdir()
    with pytest.raises(BadInput, match="the split val is empty"):
        open_dataset(str(sorted_images))


def test_one_class_is_not_enough(tmp_path, image):
    image("a/0.png")
    with pytest.raises(BadInput, match="two classes at least"):
        open_dataset(f"image-folder:{tmp_path}")


def test_a_segmentation_folder_without_its_lists_is_not_taken_for_classes(tmp_path, image):
    for folder in ("train", "val", "test"):
        image(f"{folder}/a.png")
    with pytest.raises(BadInput, match="no known data set"):
        open_dataset(str(tmp_path))


@given(st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=60), st.integers(1, 3))
def test_hold_out_is_a_partition_and_ignores_the_order(names, groups):
    kinds = [len(name) % groups for name in names]
    train, val = hold_out(names, kinds)
    assert sorted(train + val) == list(range(len(names)))
    _, back_val = hold_out(names[::-1], kinds[::-1])
    assert {names[i] for i in val} == {names[::-1][i] for i in back_val}
    for kind in set(kinds):
        size = kinds.count(kind)
        held_out = sum(kinds[index] == kind for index in val)
        assert held_out == (max(1, size // 10) if size > 1 else 0)
