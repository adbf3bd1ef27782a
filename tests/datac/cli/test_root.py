import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from datac import __version__, cli
from datac.cli import COMMANDS, one_thread_for_numpy, root, run
from datac.errors import BadInput, PlatformMissing
from datac.exit_codes import ExitCode

Body = Callable[[], int | None]
Pretend = Callable[[Body], None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Put a function in the place of `datac search`."""

    def pretend(body: Body) -> None:
        module = types.ModuleType("pretended")
        module.search = click.command()(body)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pretended", module)
        monkeypatch.setitem(COMMANDS, "search", "pretended:search")
        monkeypatch.setattr(root, "commands", {})

    return pretend


def raiser(error: BaseException) -> Body:
    def body() -> None:
        raise error

    return body


def in_a_process(body: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """`datac search`, with `body` in its place, in a process of its own."""
    script = (
        "import click, signal, sys, types, time, datac.cli as cli\n"
        # A shell starts what runs in the background with Ctrl-C ignored, and it is inherited.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "module = sys.modules['pretended'] = types.ModuleType('pretended')\n"
        "cli.COMMANDS['search'] = 'pretended:search'\n"
        "@click.command()\n"
        f"def search():\n    {body}\n"
        "module.search = search\n"
        "cli.main()\n"
    )
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", script, "search", *arguments],
        text=True,
        stderr=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, **options},
    )


@pytest.mark.parametrize("code", list(ExitCode))
def test_a_command_answers_with_its_exit_code(pretend: Pretend, code: ExitCode) -> None:
    pretend(lambda: code)
    assert run(["search"]) == code


def test_a_command_that_returns_nothing_passed(pretend: Pretend) -> None:
    pretend(lambda: None)
    assert run(["search"]) == ExitCode.PASS


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (BadInput("a.json: no"), 2, "a.json: no"),
        (PlatformMissing("no GPU; use --device cpu"), 3, "no GPU; use --device cpu"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("stopped; --resume goes on"), 130, "stopped; --resume goes on"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            3,
            "datac search needs torch, which is not installed; pip install 'datac[search]'",
        ),
        (
            ModuleNotFoundError("No module named 'x'", name="lightning_fabric.fabric"),
            3,
            "datac search needs lightning_fabric, which is not installed; "
            "pip install 'datac[search]'",
        ),
        (
            ModuleNotFoundError("No module named 'tensorrt_rtx'", name="tensorrt_rtx"),
            3,
            "datac search needs tensorrt_rtx, which is not installed; pip install 'datac[rtx]'",
        ),
        (
            ImportError("libcudart.so.13: cannot open", name="onnxruntime.capi.x"),
            3,
            "datac search needs onnxruntime, which is installed but does not load "
            "(libcudart.so.13: cannot open); pip install --force-reinstall onnxruntime",
        ),
        (
            OSError(28, "No space left on device", "build/model.onnx"),
            2,
            "build/model.onnx: the disk is full; free some space and run the command again",
        ),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            2,
            "the disk is full; free some space and run the command again",
        ),
        (
            caused(RuntimeError("cannot save"), OSError(28, "No space left on device", "a")),
            2,
            "a: the disk is full; free some space and run the command again",
        ),
        (
            IsADirectoryError(21, "Is a directory", "genotype.json"),
            2,
            "genotype.json: a folder stands where a file goes; "
            "move it away or choose another place",
        ),
        (
            NotADirectoryError(20, "Not a directory", "run/a"),
            2,
            "run/a: a file stands where a folder goes; move it away or choose another place",
        ),
        (
            PermissionError(13, "Permission denied", "build"),
            2,
            "build: permission denied; choose another place or change its permissions",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(
    pretend: Pretend,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    sentence: str,
) -> None:
    pretend(raiser(error))
    assert run(["search"]) == code
    assert capsys.readouterr().err == f"datac: {sentence}\n"


@pytest.mark.parametrize(
    "error",
    [
        KeyError("alpha"),
        EOFError("torn file"),
        FileNotFoundError(2, "No such file or directory", "gone"),
        ModuleNotFoundError("No module named 'searcher.typo'", name="searcher.typo"),
        AssertionError(),
    ],
)
def test_what_a_user_cannot_mend_is_a_bug_of_ours(
    pretend: Pretend, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    pretend(raiser(error))
    assert run(["search"]) == ExitCode.BUG
    said = capsys.readouterr().err
    assert said.startswith(f"datac: this is a bug of ours, {type(error).__name__} (")
    assert "--debug" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "search"], ["search", "--debug"]])
def test_debug_adds_the_traceback(
    pretend: Pretend, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    pretend(raiser(BadInput("a.json: no")))
    assert run(arguments) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.endswith("datac: a.json: no\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serach"], "No such command 'serach'; datac --help tells more"),
        (["search", "--fast"], "No such option"),
        (["search", "extra"], "(extra); datac search --help tells more"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    pretend: Pretend,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    pretend(lambda: None)
    assert run(arguments) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("datac: ")
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command_with_a_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(arguments) == ExitCode.PASS
    listed = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(len(line.split()) > 2 for line in listed)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == ExitCode.PASS
    assert capsys.readouterr().out == f"datac {__version__}\n"


def test_only_the_command_that_is_asked_for_is_imported(pretend: Pretend) -> None:
    pretend(lambda: None)
    run(["search"])
    assert list(cli.root.commands) == ["search"]


def test_the_process_ends_with_the_code_of_the_command() -> None:
    process = in_a_process("return 4")
    assert process.communicate() == ("", "")
    assert process.returncode == ExitCode.INCONCLUSIVE


def test_ctrl_c_ends_with_130() -> None:
    process = in_a_process("print('here', flush=True); time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "datac: interrupted\n")
    assert process.returncode == ExitCode.INTERRUPTED


def test_being_stopped_from_outside_cleans_up_as_ctrl_c_does(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
import datac.cli
from datac.output_folder import replaced_whole
from pathlib import Path
def run(arguments):
    try:
        with replaced_whole(Path("out"), "build"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
    except KeyboardInterrupt:
        return 130
datac.cli.run = run
datac.cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == 130
    assert not list(tmp_path.iterdir())


def test_a_reader_that_leaves_is_no_failure_and_no_pass() -> None:
    process = in_a_process("time.sleep(0.2); print('x' * 100_000); return 1")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.communicate()[1] == ""
    assert process.returncode == ExitCode.PIPE_CLOSED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_on_a_full_disk_is_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        process = in_a_process("print('x')", stdout=full)
        said = process.communicate()[1]
    assert said == "datac: the disk is full; free some space and run the command again\n"
    assert process.returncode == ExitCode.BAD_INPUT


@pytest.mark.parametrize(("command", "threads"), [("show", "1"), ("check", "1"), ("train", None)])
def test_numpy_has_one_thread_unless_something_is_trained(monkeypatch, command, threads):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    one_thread_for_numpy([command, "--help"])
    assert os.environ["OPENBLAS_NUM_THREADS"] == "4"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    one_thread_for_numpy([command, "--help"])
    assert os.environ.get("OPENBLAS_NUM_THREADS") == threads
