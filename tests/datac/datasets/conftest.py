"""Small data sets on disk, and the real ones where DATAC_DATA names their folder."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture
def image(tmp_path: Path) -> Write:
    """Write an RGB image below tmp_path, made of its name."""

    def write(name: str, height: int = 4, width: int = 6) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        value = sum(name.encode()) % 256
        Image.fromarray(np.full((height, width, 3), value, dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def label(tmp_path: Path) -> Write:
    """Write a grey label; `values` fill its pixels from the start, zeros the rest."""

    def write(name: str, *values: int, height: int = 4, width: int = 6) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros(height * width, dtype=np.uint8)
        pixels[: len(values)] = values
        Image.fromarray(pixels.reshape(height, width)).save(path)
        return path

    return write


@pytest.fixture
def text(tmp_path: Path) -> Write:
    """Write a text file below tmp_path."""

    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write


@pytest.fixture
def camvid(tmp_path: Path, image: Write, label: Write, text: Write) -> Path:
    """Two training pairs and one to validate."""
    for split, stems in (("train", "ab"), ("val", "c")):
        for stem in stems:
            image(f"{split}/{stem}.png")
            label(f"{split}annot/{stem}.png", 0, 10, 11)
        lines = (f"{split}/{stem}.png {split}annot/{stem}.png\n" for stem in stems)
        text(f"{split}.txt", "".join(lines))
    return tmp_path


@pytest.fixture
def voc(tmp_path: Path, image: Write, label: Write, text: Write) -> Path:
    """One pair for each split, below VOCdevkit/VOC2012; a test list without labels."""
    root = "VOCdevkit/VOC2012"
    for split in ("train", "val"):
        image(f"{root}/JPEGImages/{split}_1.jpg")
        label(f"{root}/SegmentationClass/{split}_1.png", 0, 20, 255)
        text(f"{root}/ImageSets/Segmentation/{split}.txt", f"{split}_1\n")
    text(f"{root}/ImageSets/Segmentation/test.txt", "unlabelled_1\n")
    return tmp_path


@pytest.fixture
def batch(tmp_path: Path) -> Write:
    """Write a CIFAR-10 batch as numpy and pickle do; pixels count up from `first`."""

    def write(name: str, labels: list[int], first: int = 0, **other: object) -> Path:
        count = len(labels) * 3072
        pixels = ((np.arange(count) + first) % 256).astype(np.uint8).reshape(-1, 3072)
        content = {b"data": pixels, b"labels": labels, b"batch_label": b"one"}
        content.update({key.encode(): value for key, value in other.items()})
        path = tmp_path / name
        # Protocol 5 would store arrays in another form than the published files.
        path.write_bytes(pickle.dumps(content, protocol=4))
        return path

    return write


@pytest.fixture
def real_data() -> Path:
    """The folder with the published data sets."""
    place = os.environ.get("DATAC_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("DATAC_DATA does not name a folder with camvid/ and cifar10/")
    return Path(place)
