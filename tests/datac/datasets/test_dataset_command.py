"""`describe`, the contact sheet and `datac dataset`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from datac.cli import run
from datac.cli.dataset import dataset as command
from datac.datasets import open_dataset
from datac.datasets.describe import chosen, describe
from datac.datasets.sheet import sheet
from datac.documents.dataset_summary import DatasetSummary
from datac.errors import BadInput


def test_shares_of_pixels(camvid):
    summary = describe(open_dataset(str(camvid)))
    train = summary.splits["train"]
    assert (train.samples, train.sampled) == (2, 2)
    assert [(size.height, size.width, size.images) for size in train.sizes] == [(4, 6, 2)]
    # Each label of 24 pixels holds one of class 10 and one to ignore.
    assert train.shares == pytest.approx([22 / 24, *[0] * 9, 1 / 24])
    assert train.ignored == pytest.approx(1 / 24)


def test_shares_of_samples(batch, tmp_path):
    batch("data_batch_1", [1, 2, 2, 2, 5])
    assert describe(open_dataset(str(tmp_path))).splits["train"].shares[2] == 0.75


def test_more_classes_than_a_byte_can_number(tmp_path, image):
    for number in range(300):
        for split in ("train", "val"):
            image(f"{split}/c{number:03}/0.png", height=1, width=1)
    opened = open_dataset(str(tmp_path))
    shares = describe(opened, samples=300).splits["train"].shares
    assert shares == pytest.approx([1 / 300] * 300)
    assert opened.splits["val"][299].label == 299


def test_sampling_is_repeatable_and_says_how_many():
    first = describe(open_dataset("shapes"), samples=3)
    assert first == describe(open_dataset("shapes"), samples=3)
    assert first.splits["val"].sampled == 3
    assert first.splits["val"].samples == 128
    assert len(set(chosen(10, 4))) == 4
    assert chosen(3, 9) == [0, 1, 2]


def test_json_reads_back():
    result = CliRunner().invoke(command, ["shapes", "--json", "--samples", "2"])
    assert result.exit_code == 0
    assert DatasetSummary.model_validate(json.loads(result.output)).classes.names[1] == "disc"


def test_table_names_splits_and_classes(camvid):
    result = CliRunner().invoke(command, [str(camvid)])
    assert result.exit_code == 0
    assert all(word in result.output for word in ("train", "4x6", "bicyclist", "(ignored)"))


@pytest.mark.parametrize("name", ["shapes", "shapes-classification"])
def test_sheet(tmp_path, name):
    path = tmp_path / "sheet.png"
    result = CliRunner().invoke(command, [name, "--sheet", str(path), "--samples", "1"])
    assert result.exit_code == 0
    first = path.read_bytes()
    sheet(open_dataset(name), path)
    assert path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["sheet.png"]


def test_sheet_shows_the_classes_colours(camvid):
    path = camvid / "sheet.png"
    dataset = open_dataset(str(camvid))
    sheet(dataset, path)
    with Image.open(path) as image:
        shown = {tuple(color) for color in np.asarray(image).reshape(-1, 3)[::7].tolist()}
    assert dataset.classes.colors[0] in shown


def test_sheet_where_nothing_can_be_written(tmp_path):
    with pytest.raises(BadInput, match="cannot write the sheet"):
        sheet(open_dataset("shapes-classification"), tmp_path / "none" / "sheet.png")


def test_bad_input_is_left_to_the_root():
    result = CliRunner().invoke(command, ["no-such-data"])
    assert isinstance(result.exception, BadInput)


def test_a_sheet_that_would_replace_another_kind_of_file_is_refused(tmp_path, capsys):
    precious = tmp_path / "data.toml"
    precious.write_text("mine")
    assert run(["dataset", "shapes", "--samples", "1", "--sheet", str(precious)]) == 2
    assert "give a name in .png" in capsys.readouterr().err
    assert precious.read_text() == "mine"
