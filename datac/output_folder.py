"""Folders that datac writes: which may be replaced, which must be resumed, which are refused.

A folder that datac wrote holds `.datac.json` with its kind and whether it is finished.
"""

from __future__ import annotations

import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from datac.errors import BadInput

Kind = Literal["run", "child", "build", "derivation", "reduction", "prediction"]
MARKER = ".datac.json"


def write_beside(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all: beside it first, then renamed over it.

    A device or a pipe, such as /dev/null, is written to as it is: renamed over, it would be gone.
    """
    if _is_special(path):
        with path.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        data = content.encode() if isinstance(content, str) else content
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # whoever reads the sentence knows of no other file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    """Whether a device, a pipe or a socket stands there, or what an open file is called by."""
    # /dev/stdout is a link, to a regular file where the output goes to one.
    in_devices = path.absolute().parent in map(Path, ("/dev", "/dev/fd", "/proc/self/fd"))
    return path.exists() and not path.is_dir() and (in_devices or not path.is_file())


def check_writable_file(path: Path) -> None:
    """BadInput where `write_beside` could not write, before the work whose result it gets."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder, where a file will be written; move it away")
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise BadInput(f"{path} is not writable; name another file")
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; {path.name} cannot be written into it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"{folder} is not writable, but {path.name} goes there; change folder")


def mark(folder: Path, kind: Kind, *, finished: bool) -> None:
    """Say what this folder is."""
    write_beside(folder / MARKER, json.dumps({"kind": kind, "finished": finished}) + "\n")


def state_of(folder: Path) -> tuple[str, bool] | None:
    """(kind, finished) of a folder that datac wrote, else None."""
    try:
        record = json.loads((folder / MARKER).read_text())
        return str(record["kind"]), bool(record["finished"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def prepare(folder: Path, kind: Kind, *, resume: bool = False, restart: bool = False) -> bool:
    """Make the folder ready for a long run that saves as it goes; True: go on with what is there.

    Raises BadInput where the folder is not datac's, is of another kind, or is unfinished and
    neither `resume` nor `restart` was given.
    """
    if not _occupied(folder):
        if resume:
            raise BadInput(f"{folder}: there is nothing to resume; leave out --resume")
        folder.mkdir(parents=True, exist_ok=True)
        _sweep_within(folder)
        mark(folder, kind, finished=False)
        return False
    finished = _own(folder, kind)
    if resume and not finished:
        _sweep_within(folder)
        return True
    if resume:
        raise BadInput(f"{folder} is finished; leave out --resume to replace it")
    if not finished and not restart:
        raise BadInput(f"{folder} holds an unfinished {kind}; give --resume or --restart")
    with replaced_whole(folder, kind, finished=False):
        pass  # where not even the mark finds room on the disk, the old folder is kept
    return False


def check_replaceable(folder: Path, kind: Kind) -> None:
    """BadInput unless the folder is missing, empty, or one of this kind that datac wrote."""
    if _occupied(folder):
        _own(folder, kind)


@contextmanager
def replaced_whole(folder: Path, kind: Kind, *, finished: bool = True) -> Iterator[Path]:
    """A fresh folder to write into, which takes the place of `folder` when the block ends well.

    When it does not, the old folder is as it was, and nothing is left beside it.
    """
    check_replaceable(folder, kind)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    fresh = folder.with_name(f".{folder.name}.{token}.new")
    old = folder.with_name(f".{folder.name}.{token}.old")
    fresh.mkdir()
    try:
        yield fresh
        mark(fresh, kind, finished=finished)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left beside `folder`: never the only copy of it."""
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*-*.*"):
        match = re.fullmatch(r"(\d+)-[0-9a-f]{8}\.(new|old)", path.name[len(folder.name) + 2 :])
        if match is None or _is_running(int(match[1])):
            continue
        if match[2] == "new" or folder.exists():
            shutil.rmtree(path, ignore_errors=True)


def _sweep_within(folder: Path) -> None:
    """Remove what `write_beside` had half written in a folder of ours when its process was killed.

    Only one process at a time has an unfinished folder, so nobody is writing it now.
    """
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.[0-9a-f]{8}", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _occupied(folder: Path) -> bool:
    """Whether something is in it. BadInput where it can be no output at all.

    The folder that one stands in cannot be replaced: one would stand in the old one afterwards.
    """
    here = Path.cwd()
    if folder.resolve() in (here, *here.parents):
        raise BadInput(f"{folder} is, or holds, the folder that you are in; name another")
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise BadInput(f"{path} is a file; name a folder")
    return folder.exists() and not all(map(_is_half_a_marker, folder.iterdir()))


def _is_half_a_marker(path: Path) -> bool:
    """What is left where a process was killed while it wrote the first file of a folder."""
    return re.fullmatch(rf"\.{re.escape(MARKER)}\.[0-9a-f]{{8}}", path.name) is not None


def _own(folder: Path, kind: Kind) -> bool:
    state = state_of(folder)
    if state is None:
        raise BadInput(f"{folder} was not written by datac and is not empty; name another folder")
    if state[0] != kind:
        raise BadInput(f"{folder} holds a {state[0]}, not a {kind}; name another folder")
    return state[1]
