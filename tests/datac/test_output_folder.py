"""Which folders datac replaces, resumes and refuses, and what a failure leaves behind."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datac import output_folder
from datac.errors import BadInput
from datac.output_folder import (
    MARKER,
    check_replaceable,
    check_writable_file,
    mark,
    prepare,
    replaced_whole,
    state_of,
    write_beside,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


@pytest.fixture
def made(folder):
    """made(kind, finished): a folder of datac's with a file in it."""

    def make(kind, finished):
        folder.mkdir()
        mark(folder, kind, finished=finished)
        (folder / "old").write_text("old")
        return folder

    return make


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- write_beside ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["text, ü", b"\x00\xff"])
def test_a_file_is_written_and_nothing_beside_it(tmp_path, content):
    path = tmp_path / "file"
    path.write_text("before")
    write_beside(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_device_is_written_to_and_stays(tmp_path):
    """Renamed over, /dev/null would be a file from then on, for all who are root in a container."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_writable_file(pipe)
        write_beside(pipe, "text")
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    write_beside(Path(os.devnull), "text")
    assert Path(os.devnull).is_char_device()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_the_name_of_an_open_file_stays_a_link(tmp_path):
    script = "from datac.output_folder import *; write_beside(Path('/dev/stdout'), 'text')"
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", script], check=True, stdout=out)
    assert (tmp_path / "out").read_text() == "text"
    assert Path("/dev/stdout").is_symlink()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("before")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output_folder.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_beside(path, "after")
    assert caught.value.filename == str(path)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["file"]


KILLED = """
import os, signal, sys
from pathlib import Path
from datac import output_folder

def kill(_):
    os.kill(os.getpid(), signal.SIGKILL)

output_folder.os.fsync = kill
output_folder.write_beside(Path(sys.argv[1]), "after")
"""


def killed_while_it_writes(path):
    """The name of the file that it leaves."""
    before = set(names(path.parent))
    root = str(Path(output_folder.__file__).parents[1])
    command = [sys.executable, "-c", KILLED, str(path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = set(names(path.parent)) - before
    return left


def test_what_is_half_written_at_a_kill_is_swept_by_a_resumption_and_nothing_else(made):
    folder = made("run", False)
    (folder / ".old.cafe").write_text("mine")
    assert killed_while_it_writes(folder / "old").startswith(".old.")
    assert (folder / "old").read_text() == "old"
    assert prepare(folder, "run", resume=True)
    assert names(folder) == [MARKER, ".old.cafe", "old"]


def test_a_folder_in_which_not_even_the_marker_was_written_is_begun(folder):
    folder.mkdir()
    left = killed_while_it_writes(folder / MARKER)
    with pytest.raises(BadInput, match="there is nothing to resume"):
        prepare(folder, "run", resume=True)
    assert names(folder) == [left]
    assert not prepare(folder, "run")
    assert names(folder) == [MARKER]


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_can_be_written_passes_and_nothing_is_written(folder, there):
    if there:
        folder.write_text("before")
    check_writable_file(folder)
    check_writable_file(Path("out"))
    assert names(folder.parent) == (["out"] if there else [])


def test_a_file_that_could_not_be_written_is_refused(folder, monkeypatch):
    with pytest.raises(BadInput, match="below is no folder"):
        check_writable_file(folder.parent / "below" / "file")
    folder.mkdir()
    with pytest.raises(BadInput, match="out is a folder, where a file will be written"):
        check_writable_file(folder)
    # Root may write everywhere, so the answer for anyone else is put in its place.
    monkeypatch.setattr(output_folder.os, "access", lambda *_: False)
    with pytest.raises(BadInput, match="is not writable, but file goes there"):
        check_writable_file(folder / "file")


# ---- the marker --------------------------------------------------------------------------------


@pytest.mark.parametrize("finished", [True, False])
def test_a_marker_says_kind_and_whether_it_is_finished(made, finished):
    assert state_of(made("run", finished)) == ("run", finished)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "run"}', "\0", "[" * 100_000])
def test_a_broken_marker_is_none(folder, content):
    folder.mkdir()
    (folder / MARKER).write_text(content)
    assert state_of(folder) is None
    with pytest.raises(BadInput, match="was not written by datac"):
        check_replaceable(folder, "run")


# ---- prepare: runs and children ------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False])
def test_a_new_or_empty_folder_is_begun(folder, exists):
    if exists:
        folder.mkdir()
    assert prepare(folder, "run") is False
    assert state_of(folder) == ("run", False)


def test_parents_are_made(folder):
    prepare(folder / "a" / "b", "child")
    assert state_of(folder / "a" / "b") == ("child", False)


def test_there_must_be_something_to_resume(folder):
    with pytest.raises(BadInput, match="nothing to resume"):
        prepare(folder, "run", resume=True)
    assert not folder.exists()


def test_an_unfinished_folder_needs_a_word(made):
    folder = made("run", False)
    with pytest.raises(BadInput, match="unfinished run; give --resume or --restart"):
        prepare(folder, "run")
    assert names(folder) == [MARKER, "old"]


def test_resume_goes_on_with_what_is_there(made):
    folder = made("run", False)
    assert prepare(folder, "run", resume=True) is True
    assert names(folder) == [MARKER, "old"]


def test_restart_begins_anew(made):
    folder = made("run", False)
    assert prepare(folder, "run", restart=True) is False
    assert names(folder) == [MARKER]
    assert state_of(folder) == ("run", False)


def test_a_finished_folder_is_replaced(made):
    folder = made("child", True)
    assert prepare(folder, "child") is False
    assert names(folder) == [MARKER]
    assert state_of(folder) == ("child", False)


def test_a_link_to_a_finished_folder_stays_a_link(made, tmp_path):
    folder = made("run", True)
    (tmp_path / "link").symlink_to("out")
    assert prepare(tmp_path / "link", "run") is False
    assert (tmp_path / "link").is_symlink()
    assert names(folder) == [MARKER]


def test_a_full_disk_leaves_the_finished_folder_whole(made, monkeypatch):
    folder = made("run", True)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output_folder.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(folder, "run")
    assert names(folder) == [MARKER, "old"]
    assert state_of(folder) == ("run", True)
    assert names(folder.parent) == ["out"]


def test_a_finished_folder_is_not_resumed(made):
    folder = made("child", True)
    with pytest.raises(BadInput, match="is finished; leave out --resume"):
        prepare(folder, "child", resume=True)
    assert names(folder) == [MARKER, "old"]


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"restart": True}])
def test_another_kind_and_foreign_folders_are_refused(made, options):
    folder = made("build", True)
    with pytest.raises(BadInput, match="holds a build, not a run"):
        prepare(folder, "run", **options)
    (folder / MARKER).unlink()
    with pytest.raises(BadInput, match="was not written by datac and is not empty"):
        prepare(folder, "run", **options)
    assert names(folder) == ["old"]


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_way_is_refused(folder, below):
    folder.write_text("mine")
    for refused in (check_replaceable, prepare):
        with pytest.raises(BadInput, match="out is a file; name a folder"):
            refused(folder / below, "run")
    assert folder.read_text() == "mine"


# ---- replaced_whole: builds ----------------------------------------------------------------------


def replace(folder, kind="build"):
    with replaced_whole(folder, kind) as fresh:
        (fresh / "new").write_text("new")


def break_off(folder, error):
    with replaced_whole(folder, "build") as fresh:
        (fresh / "half").write_text("half")
        raise error


@pytest.mark.parametrize("old", [None, "empty", "build"])
def test_the_fresh_folder_takes_the_place_whole(made, folder, old):
    if old == "build":
        made("build", True)
    elif old == "empty":
        folder.mkdir()
    replace(folder)
    assert names(folder) == [MARKER, "new"]
    assert state_of(folder) == ("build", True)
    assert names(folder.parent) == ["out"]


def test_until_the_end_the_old_one_stands(made):
    folder = made("build", True)
    with replaced_whole(folder, "build") as fresh:
        (fresh / "new").write_text("new")
        assert names(folder) == [MARKER, "old"]
        assert fresh.parent == folder.parent, "on the same file system, so that it can be renamed"
    assert names(folder) == [MARKER, "new"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError()]
)
@pytest.mark.parametrize("existed", [True, False])
def test_a_failure_leaves_everything_as_it_was(made, folder, error, existed):
    if existed:
        made("build", True)
    with pytest.raises(type(error)):
        break_off(folder, error)
    assert names(folder.parent) == (["out"] if existed else [])
    if existed:
        assert names(folder) == [MARKER, "old"]


def test_a_failure_between_the_two_renames_puts_the_old_one_back(made, monkeypatch):
    folder, rename = made("build", True), Path.rename

    def failing(self, target):
        if self.name.endswith(".new"):
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="broken"):
        replace(folder)
    assert names(folder) == [MARKER, "old"]
    assert names(folder.parent) == ["out"]


def test_builds_of_another_kind_and_foreign_folders_stay(made):
    folder = made("run", True)
    with pytest.raises(BadInput, match="holds a run, not a build"):
        replace(folder)
    (folder / MARKER).write_text(json.dumps({"kind": "build"}))
    with pytest.raises(BadInput, match="was not written by datac"):
        replace(folder)
    assert "old" in names(folder)


def test_a_link_to_a_build_stays_a_link(made, tmp_path):
    made("build", True)
    link = tmp_path / "link"
    link.symlink_to("out")
    replace(link)
    assert link.is_symlink()
    assert names(link) == names(tmp_path / "out") == [MARKER, "new"]
    assert names(tmp_path) == ["link", "out"]


@pytest.mark.parametrize("name", [".", "..", "below/..", "/"])
def test_where_one_stands_cannot_be_replaced(folder, name):
    (folder.parent / "below").mkdir()
    for refused in (replace, lambda path: prepare(path, "build", restart=True)):
        with pytest.raises(BadInput, match="the folder that you are in"):
            refused(Path(name))


# ---- what killed processes leave ---------------------------------------------------------------

DEAD = 2**22 + 1
"""More than Linux gives to any process."""


def test_what_a_killed_process_left_is_removed_and_nothing_else(folder, made):
    made("build", True)
    litter = folder.with_name(f".out.{DEAD}-0123abcd.new")
    running = folder.with_name(f".out.{os.getpid()}-0123abcd.new")
    other = folder.with_name(".out.mine.new")
    for path in (litter, running, other):
        path.mkdir()
    with replaced_whole(folder, "build"):
        pass
    assert names(folder.parent) == sorted([other.name, running.name, "out"])


def test_an_old_folder_that_is_the_only_copy_stays(folder):
    saved = folder.with_name(f".out.{DEAD}-0123abcd.old")
    saved.mkdir()
    with replaced_whole(folder, "build"):
        assert saved.is_dir()
