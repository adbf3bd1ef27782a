"""`open_dataset`: how a data set is found, and what is said when it is not."""

import pytest

from datac.datasets import EMBEDDED, FAMILIES, open_dataset
from datac.errors import BadInput


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_needs_no_files(name):
    dataset = open_dataset(name)
    assert dataset.name == name
    assert set(dataset.splits) == {"train", "val", "test"}


def test_families_are_found_by_what_is_in_the_folder(camvid):
    assert open_dataset(str(camvid)).name == "camvid"


def test_data_toml_wins_over_the_layout(camvid, text):
    text(
        "data.toml",
        'name = "mine"\nclasses = {names = ["a"], ignore_index = 255}\n'
        'labels = {values = [0], ignore = [10, 11]}\n[splits.train]\nlist = "train.txt"\n'
        '[splits.val]\nlist = "val.txt"\n',
    )
    assert open_dataset(str(camvid)).name == "mine"
    assert open_dataset(str(camvid / "data.toml")).name == "mine"
    assert open_dataset(f"camvid:{camvid}").name == "camvid"


def test_a_folder_named_like_an_embedded_set(camvid, monkeypatch):
    monkeypatch.chdir(camvid)
    (camvid / "shapes").mkdir()
    with pytest.raises(BadInput, match=r"looked for data.toml"):
        open_dataset("./shapes")
    assert open_dataset("shapes").task == "segmentation"


@pytest.mark.parametrize(
    ("spec", "way_out"),
    [
        ("shapse", 'did you mean "shapes"'),
        ("camvit:./x", 'did you mean "camvid:FOLDER"'),
        ("nowhere/at/all", "give a folder"),
        ("camvid:nowhere", "no such folder"),
        ("", "give a folder"),
    ],
)
def test_unknown(spec, way_out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=way_out):
        open_dataset(spec)


def test_a_file_is_not_a_data_set(text):
    with pytest.raises(BadInput, match="is a file"):
        open_dataset(str(text("images.zip", "")))


def test_an_unknown_folder_lists_what_was_looked_for(tmp_path):
    with pytest.raises(BadInput) as caught:
        open_dataset(str(tmp_path))
    assert all(family.looks_for in str(caught.value) for family in FAMILIES.values())
