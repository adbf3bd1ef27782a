"""Any folder with a `data.toml` that says where images and labels are and what they mean.

    name = "pets"
    task = "segmentation"

    [classes]
    names = ["pet", "background"]

    [labels]
    values = [1, 2]     # what stands in the files for each class
    ignore = [3]        # the trimap's border: does not count

    [splits.train]
    list = "annotations/trainval.txt"
    images = "images/{}.jpg"
    labels = "annotations/trimaps/{}.png"

Every key is in docs/add-a-dataset.md. This file reads and validates; `data_toml_splits` finds
the samples.
"""

import tomllib
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from datac.datasets.data_toml_splits import SplitTable, classified, segmented
from datac.datasets.family import Family
from datac.datasets.hold_out import with_val
from datac.datasets.labels import MAX_VALUE, ColorLabels, LabelReader, NumberLabels
from datac.datasets.listing import read_text
from datac.datasets.samples import FolderDataset, ImagesWithClasses, ImagesWithMaps, check_splits
from datac.documents.document import Document
from datac.documents.network import Classes, Color, Task
from datac.documents.sentences import counted, first_problem
from datac.errors import BadInput

FILE = "data.toml"
MOST_CLASSES: dict[Task, int] = {"classification": 65536, "segmentation": 255}
"""Label maps are kept as bytes, and one value of 256 is to ignore."""
_Key = TypeVar("_Key", int, Color)


class LabelTable(Document):
    """`[labels]`: what stands in label files (or in a list's second column) for each class."""

    encoding: Literal["index", "color"] = "index"
    values: tuple[int | tuple[int, ...], ...] | None = None
    ignore: tuple[int, ...] = ()
    ignore_colors: tuple[Color, ...] = ()

    @model_validator(mode="after")
    def _colors_are_bytes(self) -> Self:
        if not all(0 <= part <= 255 for color in self.ignore_colors for part in color):
            raise ValueError("ignore_colors has a part outside 0 to 255")
        return self


class DataToml(Document):
    """The whole file."""

    name: str | None = None
    task: Task = "segmentation"
    classes: Classes
    labels: LabelTable = LabelTable()
    splits: dict[Literal["train", "val", "test"], SplitTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        count = len(self.classes.names)
        most = MOST_CLASSES[self.task]
        if not 1 <= count <= most:
            raise ValueError(f"classes.names has {count} names; it needs 1 to {most}")
        if len(set(self.classes.names)) != count:
            raise ValueError("classes.names has a name twice")
        if self.labels.encoding == "color" and not self.classes.colors:
            raise ValueError('labels.encoding "color" needs classes.colors')
        if self.labels.values is not None and len(self.labels.values) != count:
            classes = counted(count, "class", "classes")
            raise ValueError(f"labels.values has {len(self.labels.values)} for {classes}")
        ignored = self.classes.ignore_index
        largest = max(255, count)
        if ignored is not None and not count <= ignored <= largest:
            raise ValueError(
                f"classes.ignore_index {ignored} must be {count}..{largest}, beyond classes"
            )
        if "train" not in self.splits:
            raise ValueError("[splits.train] is missing")
        return self

    def full_classes(self) -> Classes:
        """The classes with an ignore index where labels need one and none is given."""
        needed = self.labels.ignore or self.labels.ignore_colors
        if self.classes.ignore_index is None and needed:
            return self.classes.model_copy(update={"ignore_index": _ignore_index(self.classes)})
        return self.classes


def open_folder(folder: Path) -> FolderDataset:
    """Without `[splits.val]` a tenth of train is held out (`hold_out`)."""
    source = folder / FILE
    text = read_text(source)
    description = _parse(text, source)
    classes = description.full_classes()
    given: dict[str, ImagesWithMaps | ImagesWithClasses] = {
        name: _split(folder, description, classes, table, source)
        for name, table in description.splits.items()
    }
    splits = with_val(given)
    check_splits(splits, source)
    name = description.name or folder.resolve().name
    return FolderDataset(name, description.task, classes, splits, identity=text)


def _parse(text: str, source: Path) -> DataToml:
    try:
        return DataToml.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{source}: not valid TOML ({error})") from error
    except ValidationError as error:
        raise BadInput(
            f"{source}: {first_problem(error, DataToml)} (keys: docs/add-a-dataset.md)"
        ) from error


def _split(
    folder: Path, description: DataToml, classes: Classes, table: SplitTable, source: Path
) -> ImagesWithMaps | ImagesWithClasses:
    if description.task == "segmentation":
        return segmented(folder, table, _reader(description.labels, classes, source), source)
    numbers = _numbers(description.labels, classes, source)
    return classified(folder, table, classes, numbers, source)


def _reader(labels: LabelTable, classes: Classes, source: Path) -> LabelReader:
    if labels.encoding == "index":
        return NumberLabels(_numbers(labels, classes, source))
    by_color: dict[Color, int] = {}
    for number, color in enumerate(classes.colors):
        _put(by_color, color, number, source)
    for color in labels.ignore_colors:
        _put(by_color, color, _ignore_index(classes), source)
    return ColorLabels(by_color)


def _numbers(labels: LabelTable, classes: Classes, source: Path) -> dict[int, int]:
    """Number in the file → class number, or the ignore index."""
    values = range(len(classes.names)) if labels.values is None else labels.values
    numbers: dict[int, int] = {}
    for number, value in enumerate(values):
        for one in value if isinstance(value, tuple) else (value,):
            _put(numbers, one, number, source)
    for value in labels.ignore:
        _put(numbers, value, _ignore_index(classes), source)
    # The ignore index itself may stand in the files, unless its number has another meaning there.
    if classes.ignore_index is not None:
        numbers.setdefault(classes.ignore_index, classes.ignore_index)
    if not all(0 <= value <= MAX_VALUE for value in numbers):
        raise BadInput(f"{source}: labels.values and labels.ignore must be 0..{MAX_VALUE}")
    return numbers


def _put(table: dict[_Key, int], key: _Key, number: int, source: Path) -> None:
    if table.setdefault(key, number) != number:
        raise BadInput(f"{source}: the label {key} stands for two classes; it may for one only")


def _ignore_index(classes: Classes) -> int:
    """Its own, else 255 as Pascal VOC has it, or the first number that is no class."""
    default = max(255, len(classes.names))
    return default if classes.ignore_index is None else classes.ignore_index


FAMILY = Family(
    looks_for="data.toml",
    matches=lambda folder: (folder / FILE).is_file(),
    open=open_folder,
)
