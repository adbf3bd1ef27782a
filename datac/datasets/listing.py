"""Files that name other files: lists, and the paths in them."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from datac.errors import BadInput

MAX_LIST_BYTES = 256 * 1024 * 1024


def read_text(path: Path) -> str:
    """A UTF-8 text file of at most MAX_LIST_BYTES."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file; the data set needs it")
    if path.stat().st_size > MAX_LIST_BYTES:
        raise BadInput(f"{path}: larger than {MAX_LIST_BYTES} bytes, so it is no list of files")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not readable as UTF-8 text ({error})") from error


def read_list(path: Path) -> list[list[str]]:
    """The columns of every line that is not blank: split at tabs if it has any, else at spaces."""
    lines = (line.strip() for line in read_text(path).splitlines())
    rows = [line.split("\t") if "\t" in line else line.split() for line in lines if line]
    if not rows:
        raise BadInput(f"{path}: the list is empty; it needs one line for each sample")
    return rows


def inside(name: str, source: Path) -> str:
    """`name` in its plain form; refused where it is absolute or climbs out of the folder.

    Symbolic links inside the folder are followed: whoever made them decided where they lead.
    """
    path = PurePosixPath(os.path.normpath(name or "."))
    if path.is_absolute() or path.parts[:1] in ((), ("..",)) or "\0" in name:
        raise BadInput(f"{source}: {name!r} is not a path below the data set's folder")
    return str(path)


def require_files(folder: Path, names: Iterable[str], what: str, source: Path) -> None:
    """Refuse the first of `names` that is not a file below `folder`."""
    for name in names:
        # os.path, not Path: a tenth of the time, over hundreds of thousands of files.
        if not os.path.isfile(f"{folder}/{name}"):  # noqa: PTH113
            raise BadInput(
                f"{folder / name}: missing {what}, named by {source}; "
                "restore the file or remove its line"
            )
