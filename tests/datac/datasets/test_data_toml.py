"""`data.toml`: every way to say where things are, and every way to say it wrongly."""

import numpy as np
import pytest
from PIL import Image

from datac.datasets import open_dataset
from datac.errors import BadInput


def table(**tables: str) -> str:
    """Sections from keyword arguments; `splits` ones keep their dots."""
    return "\n".join(f"[{name.replace('__', '.')}]\n{body}" for name, body in tables.items())


@pytest.fixture
def pets(tmp_path, image, label, text):
    """Two pets as Oxford-IIIT has them: trimaps of 1 pet, 2 background, 3 border."""
    for stem in ("a_1", "b_1"):
        image(f"images/{stem}.jpg")
        label(f"annotations/trimaps/{stem}.png", *[1, 2, 3] * 8)
    text("annotations/trainval.txt", "a_1 1 1 1\n")
    text("annotations/test.txt", "b_1 2 1 1\n")
    return tmp_path


PATTERNS = 'images = "images/{}.jpg"\nlabels = "annotations/trimaps/{}.png"'
TRIMAPS = table(
    classes='names = ["pet", "background"]',
    labels="values = [1, 2]\nignore = [3]",
    splits__train='list = "annotations/trainval.txt"\n' + PATTERNS,
    splits__val='list = "annotations/test.txt"\n' + PATTERNS,
)


def test_trimaps_with_a_value_to_ignore(pets, text):
    text("data.toml", TRIMAPS)
    dataset = open_dataset(str(pets))
    assert dataset.classes.ignore_index == 255
    assert dataset.splits["val"][0].label[0, :3].tolist() == [0, 1, 255]


def test_ignore_index_of_ones_own_and_many_values_for_a_class(pets, text):
    replaced = TRIMAPS.replace("values = [1, 2]\nignore = [3]", "values = [[1, 3], 2]")
    text("data.toml", replaced.replace('"background"]', '"background"]\nignore_index = 7'))
    dataset = open_dataset(str(pets))
    assert dataset.classes.ignore_index == 7
    assert dataset.splits["val"][0].label[0, :3].tolist() == [0, 1, 0]


def test_a_value_that_stands_for_nothing(pets, text):
    text("data.toml", TRIMAPS.replace("ignore = [3]", ""))
    dataset = open_dataset(str(pets))
    with pytest.raises(
        BadInput, match=r"b_1.png: label value 3 at row 0, column 2 .*known values: 1..2"
    ):
        dataset.splits["val"][0]


def test_globs_pair_by_stem_and_val_is_held_out(tmp_path, image, label, text):
    for number in range(10):
        image(f"photos/deep/{number}.png")
        label(f"masks/{number}.png", 1)
    text(
        "data.toml",
        table(
            classes='names = ["no", "yes"]',
            splits__train='images = "photos/**/*.png"\nlabels = "masks/*.png"',
        ),
    )
    dataset = open_dataset(str(tmp_path))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 9, "val": 1}
    assert dataset.splits["train"][0].label[0, 0] == 1
    (tmp_path / "masks/4.png").unlink()
    with pytest.raises(BadInput, match=r"4.png: missing label"):
        open_dataset(str(tmp_path))


def test_colours(tmp_path, image, text):
    pixels = np.array([[[255, 0, 0], [0, 0, 255], [0, 0, 0]]], dtype=np.uint8)
    for name in ("a", "b"):
        image(f"{name}.png", height=1, width=3)
        Image.fromarray(pixels).save(tmp_path / f"{name}_label.png")
    toml = table(
        classes='names = ["red", "blue"]\ncolors = [[255, 0, 0], [0, 0, 255]]',
        labels='encoding = "color"\nignore_colors = [[0, 0, 0]]',
        splits__train='images = ["a.png"]\nlabels = ["a_label.png"]',
        splits__val='images = ["b.png"]\nlabels = "{}_label.png"',
    )
    text("data.toml", toml)
    assert open_dataset(str(tmp_path)).splits["val"][0].label.tolist() == [[0, 1, 255]]
    text("data.toml", toml.replace("ignore_colors = [[0, 0, 0]]", ""))
    with pytest.raises(BadInput, match=r"a_label.png: label colour \(0, 0, 0\) at row 0, column 2"):
        open_dataset(str(tmp_path)).splits["train"][0]


def test_classification_by_list_and_by_folder(tmp_path, image, text):
    for name in ("cats/1.png", "cats/2 b.png", "dogs/1.png"):
        image(name)
    text("train.txt", "cats/1.png 1\ncats/2 b.png\t1\ndogs/1.png dogs\n")
    toml = 'task = "classification"\n' + table(
        classes='names = ["cats", "dogs"]',
        labels="values = [1, 2]",
        splits__train='list = "train.txt"',
        splits__val='images = "*/1.png"',
    )
    text("data.toml", toml)
    dataset = open_dataset(str(tmp_path))
    assert [sample.label for sample in dataset.splits["train"]] == [0, 0, 1]
    assert [sample.name for sample in dataset.splits["val"]] == ["cats/1.png", "dogs/1.png"]
    text("train.txt", "cats/1.png birds\n")
    with pytest.raises(BadInput, match=r"cats/1.png: the class 'birds' is outside the classes"):
        open_dataset(str(tmp_path))


def test_the_digest_follows_the_description(pets, text):
    text("data.toml", TRIMAPS)
    before = open_dataset(str(pets)).digest
    text("data.toml", TRIMAPS.replace("[1, 2]", "[2, 1]"))
    assert open_dataset(str(pets)).digest != before


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[classes]", "[classes", "not valid TOML"),
        ("[classes]", "x = " + "[" * 10**5 + "\n[classes]", "not valid TOML"),
        ("[classes]", "color = 3\n[classes]", 'unknown key "color"'),
        ("names =", "nams =", r'classes: unknown key "nams". Did you mean "names"\?'),
        ("splits.train", "splits.training", "training"),
        ("[splits.train]", "[splits.test]", r"\[splits.train\] is missing"),
        ('["pet", "background"]', '["pet"]', "labels.values has 2 for 1 class"),
        ('["pet", "background"]', '["pet", "pet"]', "a name twice"),
        ('["pet", "background"]', "[]", "classes.names has 0 names"),
        ('"background"]', '"background"]\ncolors = [[0, 0, 0]]', "1 colors for 2 class names"),
        ('"background"]', '"background"]\nignore_index = 1', "ignore_index 1 must be 2..255"),
        ("values = [1, 2]", "values = [1, 70000]", r"must be 0\.\.65535"),
        ("ignore = [3]", "ignore = [2]", "label 2 stands for two classes"),
        ("ignore = [3]", 'encoding = "color"', 'encoding "color" needs classes.colors'),
        ("ignore = [3]", "ignore_colors = [[0, 0, 256]]", "outside 0 to 255"),
        ("annotations/test.txt", "annotations/none.txt", "none.txt: no such file"),
        ("annotations/test.txt", "../test.txt", "not a path below"),
        ("annotations/test.txt", "/dev/zero", "not a path below"),
        ('"images/{}.jpg"', '"../images/{}.jpg"', "not a path below"),
        ('"images/{}.jpg"', '"images/*.jpg"', "patterns with {}"),
        ('"images/{}.jpg"', '"photos/{}.jpg"', "photos/a_1.jpg: missing image"),
        ("trimaps/{}.png", "masks/{}.png", "masks/a_1.png: missing label"),
        ('labels = "annotations/trimaps/{}.png"', 'labels = ""', "patterns with {}"),
    ],
)
def test_refused(pets, text, old, new, sentence):
    assert old in TRIMAPS
    text("data.toml", TRIMAPS.replace(old, new))
    with pytest.raises(BadInput, match=sentence) as caught:
        open_dataset(str(pets))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('images = "none/*.jpg"\nlabels = "{}.png"', "no file fits the pattern 'none/"),
        ('images = "images/*.jpg"', "needs labels"),
        ("labels = []", "needs list or images"),
        ('images = ["images/a_1.jpg"]\nlabels = []', "1 image but 0 labels"),
        ('images = "images/**x"\nlabels = "{}.png"', "not a pattern|missing label|is empty"),
        ('images = "images/*.jpg"\nlabels = "**/*_1.*"', "two label files have the stem"),
        ('list = "annotations/trainval.txt"\nimages = "images/{}.jpg"', "1: missing label|not a"),
    ],
)
def test_refused_splits(pets, text, body, sentence):
    text("data.toml", table(classes='names = ["a"]', splits__train=body))
    with pytest.raises(BadInput, match=sentence):
        open_dataset(str(pets))


def many(count, task, **labels):
    table = "".join(f"{key} = {value}\n" for key, value in labels.items())
    names = [f"c{number:03}" for number in range(count)]
    return (
        f'task = "{task}"\n[classes]\nnames = {names}\n[labels]\n{table}'
        '[splits.train]\nlist = "train.txt"\n[splits.val]\nlist = "train.txt"\n'
    )


def test_classes_of_whole_images_may_be_more_than_a_byte_can_number(tmp_path, image, text):
    for number in (0, 255, 299):
        image(f"{number}.png", height=1, width=1)
    text("train.txt", "0.png c000\n255.png 255\n299.png c299\n0.png 999\n")
    text("data.toml", many(300, "classification", ignore=[999]))
    train = open_dataset(str(tmp_path)).splits["train"]
    assert [sample.label for sample in train] == [0, 255, 299]


def test_classes_of_pixels_may_not(tmp_path, text):
    text("data.toml", many(300, "segmentation"))
    with pytest.raises(BadInput, match=r"classes\.names has 300 names; it needs 1 to 255"):
        open_dataset(str(tmp_path))
