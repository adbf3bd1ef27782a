"""Images sorted into one folder a class: ROOT/train/CLASS/*.jpg and val, or ROOT/CLASS/*.jpg.

Classes are the folder names in alphabetical order. Without a val folder a tenth of each class
is held out (`hold_out`).
"""

import os
from pathlib import Path

from datac.datasets.family import Family
from datac.datasets.hold_out import with_val
from datac.datasets.pixels import is_image_name
from datac.datasets.samples import FolderDataset, ImagesWithClasses, check_splits
from datac.documents.network import Classes
from datac.errors import BadInput

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def open_folder(folder: Path) -> FolderDataset:
    """The train folder (or ROOT itself) decides the classes; the others may only use them."""
    roots = {name: root for name in SPLIT_FOLDERS if (root := _split_root(folder, name))}
    roots.setdefault("train", folder)
    names = tuple(_class_names(roots["train"]))
    if len(names) < 2:
        raise BadInput(
            f"{roots['train']}: {len(names)} folders with images; "
            "an image folder needs one for each class, and two classes at least"
        )
    given = {name: _split(folder, roots[name], names) for name in SPLIT_FOLDERS if name in roots}
    splits = with_val(given)
    check_splits(splits, folder)
    return FolderDataset(folder.resolve().name, "classification", Classes(names=names), splits)


def matches(folder: Path) -> bool:
    """Two class folders, in `train` where there is one; images beside them say otherwise."""
    split_root = _split_root(folder, "train")
    if split_root is None and any(_split_root(folder, name) for name in ("val", "test")):
        return False
    return len(_class_names(split_root or folder)) >= 2


def _split_root(folder: Path, split: str) -> Path | None:
    roots = (folder / name for name in SPLIT_FOLDERS[split])
    return next((root for root in roots if root.is_dir()), None)


def _class_names(root: Path) -> list[str]:
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    return [name for name in folders if not name.startswith(".") and _images(root / name)]


def _images(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if is_image_name(entry.name))


def _split(folder: Path, root: Path, names: tuple[str, ...]) -> ImagesWithClasses:
    strange = [name for name in _class_names(root) if name not in names]
    if strange:
        raise BadInput(f"{root / strange[0]}: the class has no images in the train split")
    below = root.relative_to(folder)
    items = [
        ((below / name / image).as_posix(), number)
        for number, name in enumerate(names)
        if (root / name).is_dir()
        for image in _images(root / name)
    ]
    return ImagesWithClasses(folder, tuple(items))


FAMILY = Family(
    looks_for="one folder of images for each class, or train/ and val/ of such folders",
    matches=matches,
    open=open_folder,
)
