"""Pascal VOC segmentation: JPEGImages, SegmentationClass, ImageSets/Segmentation.

Everingham et al., "The Pascal visual object classes challenge", IJCV 2010. Labels are palette
images of 0..20, and 255 for borders, which do not count.
"""

from pathlib import Path

from datac.datasets.family import Family
from datac.datasets.labels import plain_labels
from datac.datasets.listing import inside, read_list, require_files
from datac.datasets.palette import voc_colors
from datac.datasets.samples import FolderDataset, ImagesWithMaps, check_splits
from datac.documents.network import Classes
from datac.errors import BadInput

NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
CLASSES = Classes(names=NAMES, colors=voc_colors(len(NAMES)), ignore_index=255)
_ROOTS = (".", "VOC2012", "VOCdevkit/VOC2012", "VOC2007", "VOCdevkit/VOC2007")


def open_folder(folder: Path) -> FolderDataset:
    """Train and val must be there; test counts only where its labels were published (VOC2007)."""
    root = _root(folder)
    if root is None:
        raise BadInput(f"{folder}: no SegmentationClass folder here or in VOCdevkit/VOC2012 below")
    splits = {name: _split(root, name) for name in ("train", "val")}
    if _has_test_labels(root):
        splits["test"] = _split(root, "test")
    check_splits(splits, root)
    return FolderDataset("voc", "segmentation", CLASSES, splits)


def _root(folder: Path) -> Path | None:
    candidates = (folder / root for root in _ROOTS)
    return next((root for root in candidates if (root / "SegmentationClass").is_dir()), None)


def _list(root: Path, name: str) -> Path:
    return root / "ImageSets" / "Segmentation" / f"{name}.txt"


def _has_test_labels(root: Path) -> bool:
    source = _list(root, "test")
    return source.is_file() and (root / _pair(read_list(source)[0][0], source)[1]).is_file()


def _split(root: Path, name: str) -> ImagesWithMaps:
    source = _list(root, name)
    pairs = tuple(_pair(row[0], source) for row in read_list(source))
    require_files(root, (image for image, _ in pairs), "image", source)
    require_files(root, (label for _, label in pairs), "label", source)
    return ImagesWithMaps(root, pairs, plain_labels(CLASSES))


def _pair(stem: str, source: Path) -> tuple[str, str]:
    stem = inside(stem, source)
    return f"JPEGImages/{stem}.jpg", f"SegmentationClass/{stem}.png"


FAMILY = Family(
    looks_for="JPEGImages/ and SegmentationClass/ (Pascal VOC, also below VOCdevkit/VOC2012)",
    matches=lambda folder: _root(folder) is not None,
    open=open_folder,
)
