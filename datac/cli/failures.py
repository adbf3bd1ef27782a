"""What escapes from a command, as an exit code and one sentence for the user."""

import errno
import os
from collections.abc import Iterator

import click

from datac.errors import BadInput, DatacError, PlatformMissing
from datac.exit_codes import ExitCode

EXTRA_OF_PACKAGE = {
    "kornia": "search",
    "lightning_fabric": "search",
    "onnxruntime": "cpu",
    "openvino": "openvino",
    "tensorboard": "search",
    "tensorrt": "trt",
    "tensorrt_rtx": "rtx",
    "torch": "search",
}
"""The optional packages, by import name, and the extra of pyproject.toml that brings each."""

REFUSED_BY_THE_SYSTEM = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EACCES: "permission denied; choose another place or change its permissions",
    errno.EPERM: "operation not permitted; choose another place or change its permissions",
    errno.EISDIR: "a folder stands where a file goes; move it away or choose another place",
    errno.ENOTDIR: "a file stands where a folder goes; move it away or choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
}
"""Errors of the operating system that a user can mend; any other that escapes is a bug of ours."""

DISK_FULL = os.strerror(errno.ENOSPC)


def explain(error: BaseException, command: str | None) -> tuple[ExitCode, str]:
    """(exit code, sentence) of what escaped from `datac COMMAND`.

    A KeyboardInterrupt that carries a sentence says it: how to go on, say.
    """
    match error:
        case DatacError():
            return ExitCode(error.exit_code), _one_line(str(error))
        case click.ClickException():
            return ExitCode.BAD_INPUT, _with_way_out(error)
        case click.Abort() | KeyboardInterrupt():
            return ExitCode.INTERRUPTED, _one_line(str(error)) or "interrupted"
        case ImportError() if (missing := _missing_extra(error, command)) is not None:
            return ExitCode.PLATFORM_MISSING, str(missing)
    refusal = _refused_by_the_system(error)
    if refusal is not None:
        return ExitCode.BAD_INPUT, str(refusal)
    return ExitCode.BUG, (
        f"this is a bug of ours, {type(error).__name__} ({_one_line(str(error))}); run the "
        "command again with --debug and report what it prints"
    )


def _with_way_out(error: click.ClickException) -> str:
    said = _one_line(error.format_message())
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return said
    return f"{said.rstrip('.')}; {error.ctx.command_path} --help tells more"


def _missing_extra(error: ImportError, command: str | None) -> PlatformMissing | None:
    """The sentence for an optional package that is not there, or that is there but broken."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRA_OF_PACKAGE.get(package)
    if extra is None:
        return None
    asked = "datac" if command is None else f"datac {command}"
    if isinstance(error, ModuleNotFoundError):
        return PlatformMissing(
            f"{asked} needs {package}, which is not installed; pip install 'datac[{extra}]'"
        )
    return PlatformMissing(
        f"{asked} needs {package}, which is installed but does not load "
        f"({_one_line(str(error))}); pip install --force-reinstall {package.replace('_', '-')}"
    )


def _refused_by_the_system(error: BaseException) -> BadInput | None:
    """A full disk and its like, also behind an error that a library made of it.

    The libraries written in Rust or C++ (safetensors among them) report a full disk as an
    exception of their own that carries the system's words but not its number.
    """
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in REFUSED_BY_THE_SYSTEM:
            where = "" if cause.filename is None else f"{cause.filename}: "
            return BadInput(f"{where}{REFUSED_BY_THE_SYSTEM[cause.errno]}")
        if DISK_FULL in str(cause):
            return BadInput(REFUSED_BY_THE_SYSTEM[errno.ENOSPC])
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _one_line(text: str) -> str:
    return " ".join(text.split())
