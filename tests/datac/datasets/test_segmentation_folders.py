"""CamVid and Pascal VOC layouts: what they yield and what they refuse."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from datac.datasets import open_dataset
from datac.datasets.palette import voc_colors
from datac.errors import BadInput


def test_camvid(camvid):
    dataset = open_dataset(str(camvid))
    assert dataset.task == "segmentation"
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 2, "val": 1}
    sample = dataset.splits["train"][1]
    assert sample.name == "train/b.png"
    assert sample.image.shape == (4, 6, 3)
    assert sample.image.dtype == sample.label.dtype == np.uint8
    assert sample.label[0, :4].tolist() == [0, 10, 11, 0]
    assert dataset.classes.ignore_index == 11
    assert len(dataset.classes.names) == len(dataset.classes.colors) == 11


def test_camvid_lists_as_segnet_wrote_them(camvid, text):
    text("val.txt", "/SegNet/CamVid/val/c.png /SegNet/CamVid/valannot/c.png\n")
    assert open_dataset(str(camvid)).splits["val"][0].name == "val/c.png"


def test_voc(voc):
    dataset = open_dataset(str(voc))
    assert dataset.name == "voc"
    assert list(dataset.splits) == ["train", "val"], "a test list without labels is no split"
    assert dataset.splits["val"][0].label[0, :3].tolist() == [0, 20, 255]
    assert open_dataset(str(voc / "VOCdevkit" / "VOC2012")).digest == dataset.digest


def test_voc_reads_the_indices_of_a_palette_image(voc):
    path = voc / "VOCdevkit/VOC2012/SegmentationClass/val_1.png"
    with Image.open(path) as grey:
        pixels = np.asarray(grey)
    indexed = Image.fromarray(pixels)
    indexed.putpalette([part for color in voc_colors(256) for part in color])
    indexed.save(path)
    with Image.open(path) as stored:
        assert stored.mode == "P"
    assert (open_dataset(str(voc)).splits["val"][0].label == pixels).all()


def test_voc_with_published_test_labels(voc, image, label):
    image("VOCdevkit/VOC2012/JPEGImages/unlabelled_1.jpg")
    label("VOCdevkit/VOC2012/SegmentationClass/unlabelled_1.png")
    assert list(open_dataset(str(voc)).splits) == ["train", "val", "test"]


# The first rows of the table in the VOC development kit's documentation.
def test_voc_colors():
    assert voc_colors(22)[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert voc_colors(22)[15] == (192, 128, 128)
    assert voc_colors(256)[255] == (224, 224, 192)


def test_slices_stay_lazy(camvid):
    split = open_dataset(str(camvid)).splits["train"]
    (camvid / "train/a.png").unlink()
    assert split[1:][0].name == split[-1].name == "train/b.png"
    assert len(split[::2]) == 1
    with pytest.raises(IndexError):
        split[2]


def test_digest_follows_names_and_sizes(camvid, image, text):
    before = open_dataset(str(camvid)).digest
    assert open_dataset(str(camvid)).digest == before
    image("train/a.png", height=40)
    other_size = open_dataset(str(camvid)).digest
    text("train.txt", "train/b.png trainannot/b.png\n")
    assert len({before, other_size, open_dataset(str(camvid)).digest}) == 3


def test_digest_follows_the_classes(camvid):
    dataset = open_dataset(str(camvid))
    renamed = dataset.classes.model_copy(update={"ignore_index": None})
    assert replace(dataset, classes=renamed).digest != dataset.digest


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("trainannot/b.png", "trainannot/b.png: missing label, named by .*train.txt"),
        ("train/b.png", "train/b.png: missing image, named by .*train.txt"),
        ("val.txt", "val.txt: no such file"),
    ],
)
def test_camvid_missing(camvid, file, sentence):
    (camvid / file).unlink()
    with pytest.raises(BadInput, match=sentence):
        open_dataset(str(camvid))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "val.txt: the list is empty"),
        ("\n \n", "val.txt: the list is empty"),
        ("val/c.png\n", "val.txt: a line must be 'image label'"),
        ("../c.png valannot/c.png\n", "not a path below the data set's folder"),
        ("val/c.png val/../../../etc/passwd\n", "not a path below the data set's folder"),
        ("val/c.png valannot\n", "valannot: missing label"),
    ],
)
def test_camvid_bad_list(camvid, text, content, sentence):
    text("val.txt", content)
    with pytest.raises(BadInput, match=sentence):
        open_dataset(str(camvid))


def test_list_that_is_not_text(camvid):
    (camvid / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"val.txt: not readable as UTF-8"):
        open_dataset(str(camvid))


def test_size_mismatch_names_both_files(camvid, label):
    label("valannot/c.png", height=5)
    with pytest.raises(
        BadInput, match=r"valannot/c.png: the label is 5x6, its image val/c.png is 4x6"
    ):
        open_dataset(str(camvid)).splits["val"][0]


def test_value_outside_the_classes_names_file_value_and_place(camvid, label):
    label("valannot/c.png", 0, 0, 0, 0, 0, 0, 0, 17)
    with pytest.raises(
        BadInput, match=r"valannot/c.png: label value 17 at row 1, column 1 .*0\.\.11"
    ):
        open_dataset(str(camvid)).splits["val"][0]


def test_truncated_image_names_the_file(camvid):
    path = camvid / "val/c.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BadInput, match=r"val/c.png: not a whole image \("):
        open_dataset(str(camvid)).splits["val"][0]


def test_a_file_removed_after_opening(camvid):
    dataset = open_dataset(str(camvid))
    shutil.rmtree(camvid / "val")
    with pytest.raises(BadInput, match=r"val/c.png: no such file"):
        dataset.splits["val"][0]
    with pytest.raises(BadInput, match=r"val/c.png: cannot be read"):
        _ = dataset.digest


def test_voc_without_its_lists(voc):
    shutil.rmtree(voc / "VOCdevkit/VOC2012/ImageSets")
    with pytest.raises(BadInput, match=r"Segmentation/train.txt: no such file"):
        open_dataset(str(voc))


def test_real_camvid(real_data):
    dataset = open_dataset(str(real_data / "camvid"))
    counts = {name: len(split) for name, split in dataset.splits.items()}
    assert counts == {"train": 367, "val": 101, "test": 233}
    sample = dataset.splits["val"][0]
    assert sample.image.shape == (360, 480, 3)
    assert sample.label.max() <= 11
