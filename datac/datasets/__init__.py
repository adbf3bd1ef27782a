"""Data sets: one file a family, numpy and pillow only. `open_dataset` is the way in."""

from collections.abc import Callable
from pathlib import Path

from datac.datasets import camvid, cifar10, data_toml, image_folder, shapes, voc
from datac.datasets.dataset import Dataset, Sample
from datac.datasets.family import Family
from datac.documents.sentences import closest
from datac.errors import BadInput

__all__ = ["EMBEDDED", "FAMILIES", "Dataset", "Sample", "open_dataset"]

EMBEDDED: dict[str, Callable[[], Dataset]] = {
    "shapes": shapes.segmentation,
    "shapes-classification": shapes.classification,
}
"""Data sets that need no files."""

# In the order of detection: what the user wrote down first, what matches most last.
FAMILIES: dict[str, Family] = {
    "data-toml": data_toml.FAMILY,
    "camvid": camvid.FAMILY,
    "voc": voc.FAMILY,
    "cifar10": cifar10.FAMILY,
    "image-folder": image_folder.FAMILY,
}
"""Data sets in folders."""


def open_dataset(spec: str) -> Dataset:
    """An embedded name, a folder whose family is found by what is in it, or `family:folder`.

    A file `data.toml` stands for its folder. `./shapes` is a folder, `shapes` the embedded set.
    Raises BadInput.
    """
    if spec in EMBEDDED:
        return EMBEDDED[spec]()
    name, colon, path = spec.partition(":")
    if colon and name in FAMILIES:
        return FAMILIES[name].open(_folder(path, spec))
    folder = _folder(spec, spec)
    for family in FAMILIES.values():
        if family.matches(folder):
            return family.open(folder)
    looked_for = "; ".join(family.looks_for for family in FAMILIES.values())
    raise BadInput(f"{folder}: no known data set; looked for {looked_for}")


def _folder(path: str, spec: str) -> Path:
    folder = Path(path)
    if folder.name == data_toml.FILE and folder.is_file():
        return folder.parent
    if path and folder.is_dir():
        return folder
    if path and folder.exists():
        raise BadInput(f"{path}: a data set is a folder, and this is a file")
    raise BadInput(
        f"data set {spec!r}: no such folder, and no embedded data set; {_suggestion(spec)}"
    )


def _suggestion(spec: str) -> str:
    family = spec.partition(":")[0]
    near = closest(spec, EMBEDDED)
    near += [f"{name}:FOLDER" for name in closest(family, FAMILIES) if ":" in spec]
    if near:
        return f'did you mean "{near[0]}"?'
    return f"give a folder, FAMILY:FOLDER ({', '.join(FAMILIES)}) or one of {', '.join(EMBEDDED)}"
