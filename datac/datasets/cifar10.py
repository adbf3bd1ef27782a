"""CIFAR-10, python version: data_batch_1 .. data_batch_5 (some of them will do), test_batch.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The last tenth of the
training images, in the order of the files, is held out as val.

The files are pickles, and a pickle can run code. So they are read by an unpickler that knows
three names, and for these puts its own inert stand-ins in place of numpy's constructors.
"""

import hashlib
import io
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datac.datasets.dataset import Sample
from datac.datasets.family import Family
from datac.datasets.samples import FolderDataset, Samples, check_splits
from datac.documents.network import Classes
from datac.errors import BadInput

TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
HELD_OUT = 10
"""One image of HELD_OUT becomes val."""
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Twice the size of a published batch."""
CLASSES = Classes(
    names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
)
# What the unpickler raises on damaged or hostile input.
_DAMAGED = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    EOFError,
    ImportError,
    MemoryError,
    OverflowError,
    RecursionError,
    struct.error,
)


@dataclass(frozen=True)
class Batch:
    """One file. pixels: (n, 3, 32, 32) uint8; labels: (n,) uint8."""

    name: str
    sha256: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class BatchImages(Samples):
    """Images `start` to `stop` of the files laid end to end."""

    batches: tuple[Batch, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def load(self, index: int) -> Sample:
        """A copy of one image, (32, 32, 3)."""
        at = index + self.start
        for batch in self.batches:
            if at < len(batch.labels):
                image = np.ascontiguousarray(batch.pixels[at].transpose(1, 2, 0))
                return Sample(f"{batch.name}:{at}", image, int(batch.labels[at]))
            at -= len(batch.labels)
        raise IndexError(index)

    def identity(self) -> Iterator[str]:
        """The files' own SHA-256 and the range taken from them."""
        yield from (batch.sha256 for batch in self.batches)
        yield f"{self.start}..{self.stop}"


def open_folder(folder: Path) -> FolderDataset:
    """Read every batch file that is there; at least one of the five must be."""
    root = _root(folder)
    train = tuple(_read(root / name) for name in TRAIN_FILES if (root / name).is_file())
    if not train:
        raise BadInput(f"{root}: none of {TRAIN_FILES[0]} .. {TRAIN_FILES[-1]} is there")
    count = sum(len(batch.labels) for batch in train)
    kept = max(0, count - max(1, count // HELD_OUT))
    splits = {"train": BatchImages(train, 0, kept), "val": BatchImages(train, kept, count)}
    if (root / TEST_FILE).is_file():
        test = _read(root / TEST_FILE)
        splits["test"] = BatchImages((test,), 0, len(test.labels))
    check_splits(splits, root)
    return FolderDataset("cifar10", "classification", CLASSES, splits)


def _root(folder: Path) -> Path:
    below = folder / "cifar-10-batches-py"
    return below if below.is_dir() else folder


def _matches(folder: Path) -> bool:
    return any((_root(folder) / name).is_file() for name in (*TRAIN_FILES, TEST_FILE))


def _read(path: Path) -> Batch:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BadInput(f"{path}: larger than {MAX_FILE_BYTES} bytes, so it is no CIFAR-10 batch")
    content = path.read_bytes()
    try:
        pixels, labels = _arrays(_Unpickler(content).load())
    except _DAMAGED as error:
        raise BadInput(
            f"{path}: not a CIFAR-10 python batch ({error}); download the file again"
        ) from error
    return Batch(path.name, hashlib.sha256(content).hexdigest(), pixels, labels)


def _arrays(batch: object) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n, 3, 32, 32) pixels and (n,) labels of what a file holds."""
    if not isinstance(batch, dict):
        raise ValueError("it holds no dictionary")
    stored, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(stored, _StoredArray) or not isinstance(labels, list):
        raise ValueError("it lacks data or labels")
    if not all(type(label) is int and 0 <= label < len(CLASSES.names) for label in labels):
        raise ValueError("a label is outside 0..9")
    if len(stored.content) != len(labels) * 3072:
        raise ValueError(f"{len(labels)} labels for {len(stored.content)} bytes of 32x32 RGB")
    pixels = np.frombuffer(stored.content, dtype=np.uint8).reshape(-1, 3, 32, 32)
    return pixels, np.array(labels, dtype=np.uint8)


class _StoredType:
    """Stands in for numpy.dtype: remembers its code, ignores its details."""

    def __init__(self, code: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


class _StoredArray:
    """Stands in for a numpy array: keeps the bytes of one of type uint8, in C order."""

    content = b""

    def __setstate__(self, state: object) -> None:
        match state:
            case (1, tuple(), _StoredType(code=b"u1" | "u1"), False, bytes(content)):
                self.content = content
            case _:
                raise ValueError("an array that is not of type uint8")


# The one in Python, not the one in C: there a single opcode can ask for gigabytes of memory.
class _Unpickler(pickle._Unpickler):
    """Knows the three names in the published files, and what numpy 2 calls the first of them."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")

    def find_class(self, module: str, name: str) -> object:
        """A bound method of this object: nothing can be set on one, nor reached through it."""
        match module, name:
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                return self._array
            case "numpy", "dtype":
                return self._dtype
            case "numpy", "ndarray":
                return None  # only ever an argument of _reconstruct
            case _:
                raise pickle.UnpicklingError(f"it names {module}.{name}")

    def _array(self, *_: object) -> _StoredArray:
        return _StoredArray()

    def _dtype(self, code: object, *_: object) -> _StoredType:
        return _StoredType(code)


FAMILY = Family(
    looks_for="data_batch_1 (CIFAR-10 python batches, also below cifar-10-batches-py)",
    matches=_matches,
    open=open_folder,
)
