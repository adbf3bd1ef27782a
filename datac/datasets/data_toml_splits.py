"""`[splits.train]` of a data.toml: which image goes with which label."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from datac.datasets.labels import LabelReader
from datac.datasets.listing import inside, read_list, require_files
from datac.datasets.samples import ImagesWithClasses, ImagesWithMaps
from datac.documents.document import Document
from datac.documents.network import Classes
from datac.documents.sentences import counted
from datac.errors import BadInput

PLACE = "{}"
"""In a pattern: the stem of the image, or the word that a list gives."""


class SplitTable(Document):
    """Either `list`, with or without patterns for its words, or `images` (glob or paths).

    `labels` is a pattern with {}, a glob whose files have the images' stems, or paths in the
    order of the images. For classification it is left out.
    """

    list: str | None = None
    images: str | tuple[str, ...] | None = None
    labels: str | tuple[str, ...] | None = None


def segmented(folder: Path, table: SplitTable, reader: LabelReader, source: Path) -> ImagesWithMaps:
    """Images with label maps; every file must be there."""
    if table.list is None:
        images = _images(folder, table, source)
        pairs = list(zip(images, _labels(folder, table, images, source), strict=True))
    else:
        source = folder / inside(table.list, source)
        pairs = [_pair(row, table, source) for row in read_list(source)]
    require_files(folder, (image for image, _ in pairs), "image", source)
    require_files(folder, (label for _, label in pairs), "label", source)
    return ImagesWithMaps(folder, tuple(pairs), reader)


def classified(
    folder: Path, table: SplitTable, classes: Classes, numbers: Mapping[int, int], source: Path
) -> ImagesWithClasses:
    """Images with a class: a list's second column (name or number), else the image's folder."""
    if table.labels is not None:
        raise BadInput(
            f"{source}: for classification a split has no labels key; the class is the second "
            "column of its list or the folder of the image"
        )
    if table.list is None:
        images = _images(folder, table, source)
        words = [PurePosixPath(image).parent.name for image in images]
    else:
        source = folder / inside(table.list, source)
        rows = read_list(source)
        images = [inside(_filled(table.images, row[0]), source) for row in rows]
        words = [row[1] if len(row) > 1 else "" for row in rows]
    require_files(folder, images, "image", source)
    known = {name: number for number, name in enumerate(classes.names)}
    items = [
        (image, _class(word, known, numbers, f"{source}: {image}"))
        for image, word in zip(images, words, strict=True)
    ]
    # An ignored class is a sample that does not count at all.
    return ImagesWithClasses(folder, tuple(item for item in items if item[1] < len(known)))


def _class(word: str, known: Mapping[str, int], numbers: Mapping[int, int], where: str) -> int:
    if word in known:
        return known[word]
    if word.isascii() and word.isdecimal() and len(word) < 10 and int(word) in numbers:
        return numbers[int(word)]
    raise BadInput(f"{where}: the class {word!r} is outside the classes ({', '.join(known)})")


def _pair(row: list[str], table: SplitTable, source: Path) -> tuple[str, str]:
    """A list's row: image and label, or one word for the patterns."""
    image = inside(_filled(table.images, row[0]), source)
    if table.labels is not None:
        return image, inside(_filled(table.labels, row[0]), source)
    if len(row) < 2:
        raise BadInput(
            f"{source}: the line {row[0]!r} names no label; add it or give labels a pattern"
        )
    return image, inside(row[1], source)


def _filled(pattern: str | tuple[str, ...] | None, word: str) -> str:
    if pattern is None:
        return word
    if not isinstance(pattern, str) or PLACE not in pattern:
        raise BadInput(f"beside a list, images and labels must be patterns with {{}}: {pattern!r}")
    return pattern.replace(PLACE, word)


def _images(folder: Path, table: SplitTable, source: Path) -> list[str]:
    if table.images is None:
        raise BadInput(f"{source}: a split needs list or images")
    if isinstance(table.images, str):
        return _glob(folder, table.images, source)
    return [inside(name, source) for name in table.images]


def _labels(folder: Path, table: SplitTable, images: list[str], source: Path) -> list[str]:
    """One label for each image, in the same order."""
    if table.labels is None:
        raise BadInput(f"{source}: a split for segmentation needs labels")
    if not isinstance(table.labels, str):
        if len(table.labels) != len(images):
            pictures, labels = counted(len(images), "image"), counted(len(table.labels), "label")
            raise BadInput(f"{source}: {pictures} but {labels}")
        return [inside(name, source) for name in table.labels]
    stems = [PurePosixPath(image).stem for image in images]
    if PLACE in table.labels:
        return [inside(table.labels.replace(PLACE, stem), source) for stem in stems]
    by_stem = _by_stem(_glob(folder, table.labels, source), source)
    missing = next((name for name in images if PurePosixPath(name).stem not in by_stem), None)
    if missing is not None:
        raise BadInput(
            f"{folder / missing}: missing label, no file of its stem in {table.labels} "
            "(a pattern has {} there)"
        )
    return [by_stem[stem] for stem in stems]


def _by_stem(labels: list[str], source: Path) -> dict[str, str]:
    """Labels by stem; a stem that two files share would pair an image with either."""
    twice = [
        stem for stem, n in Counter(PurePosixPath(name).stem for name in labels).items() if n > 1
    ]
    if twice:
        raise BadInput(
            f"{source}: two label files have the stem {twice[0]!r}; use a pattern with {{}}"
        )
    return {PurePosixPath(name).stem: name for name in labels}


def _glob(folder: Path, pattern: str, source: Path) -> list[str]:
    """Files below the folder, sorted by name."""
    plain = inside(pattern, source)
    try:
        found = (path for path in folder.glob(plain) if path.is_file())
        names = sorted(path.relative_to(folder).as_posix() for path in found)
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{source}: {pattern!r} is not a pattern for files ({error})") from error
    if not names:
        raise BadInput(f"{source}: no file fits the pattern {pattern!r}")
    return names
