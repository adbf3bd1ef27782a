"""Lazy splits: indexing reads one sample, slicing reads none."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

from datac.datasets.dataset import Sample
from datac.datasets.labels import LabelReader
from datac.datasets.pixels import read_image
from datac.documents.network import Classes, Task
from datac.errors import BadInput


class Samples(Sequence[Sample]):
    """What every split is; a family says how many there are and how one is loaded."""

    @abstractmethod
    def load(self, index: int) -> Sample:
        """The sample at `index`, 0 <= index < len."""

    def identity(self) -> Iterator[str]:
        """Lines that change when the content does, for the data set's digest."""
        yield str(len(self))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        if isinstance(index, slice):
            return Chosen(self, range(*index.indices(len(self))))
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self.load(at)


@dataclass(frozen=True)
class Chosen(Samples):
    """Some samples of another split, in the order of `indices`."""

    source: Samples
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> Sample:
        """The source's sample at indices[index]."""
        return self.source[self.indices[index]]

    def identity(self) -> Iterator[str]:
        """The source's lines and which of its samples were chosen."""
        yield from self.source.identity()
        yield ",".join(map(str, self.indices))


@dataclass(frozen=True)
class ImagesWithMaps(Samples):
    """(image, label image) pairs, both paths below `folder`."""

    folder: Path
    pairs: tuple[tuple[str, str], ...]
    reader: LabelReader

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> Sample:
        """Read both files; the label must have the image's height and width."""
        image_name, label_name = self.pairs[index]
        image = read_image(self.folder / image_name)
        label = self.reader.read(self.folder / label_name)
        if label.shape != image.shape[:2]:
            raise BadInput(
                f"{self.folder / label_name}: the label is {_size(label.shape)}, "
                f"its image {image_name} is {_size(image.shape)} (height x width); "
                "they must be equal"
            )
        return Sample(image_name, image, label)

    def identity(self) -> Iterator[str]:
        """Names and sizes of both files of every pair."""
        for pair in self.pairs:
            yield "\t".join(_name_and_size(self.folder, name) for name in pair)


@dataclass(frozen=True)
class ImagesWithClasses(Samples):
    """(image, class number) pairs, images below `folder`."""

    folder: Path
    items: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.items)

    def load(self, index: int) -> Sample:
        """Read the image."""
        name, number = self.items[index]
        return Sample(name, read_image(self.folder / name), number)

    def identity(self) -> Iterator[str]:
        """Name, size and class of every image."""
        for name, number in self.items:
            yield f"{_name_and_size(self.folder, name)}\t{number}"


@dataclass(frozen=True)
class FolderDataset:
    """A data set read from files. `identity` is what else decides its content."""

    name: str
    task: Task
    classes: Classes
    splits: Mapping[str, Samples]
    identity: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over classes, split names, file names and file sizes; not over pixels."""
        sha = hashlib.sha256(f"{self.task}\n{self.classes.to_json()}{self.identity}".encode())
        for name, samples in self.splits.items():
            sha.update(f"[{name}]\n".encode())
            for line in samples.identity():
                sha.update(line.encode("utf-8", "surrogateescape") + b"\n")
        return sha.hexdigest()


def check_splits(splits: Mapping[str, Samples], where: Path) -> None:
    """Refuse a data set with a split that holds nothing."""
    for name, samples in splits.items():
        if not len(samples):
            raise BadInput(f"{where}: the split {name} is empty; it needs at least one sample")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _name_and_size(folder: Path, name: str) -> str:
    try:
        return f"{name}:{(folder / name).stat().st_size}"
    except OSError as error:
        raise BadInput(f"{folder / name}: cannot be read ({error.strerror})") from error
