"""Runs with older vector instructions than the processor has, where a library can be told so.

It is told by its environment and listens once, as it is loaded; so such runs have a process of
their own, which stays for the next one. ONNX Runtime cannot be told.
"""

from __future__ import annotations

import atexit
import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import numpy as np

from datac.signals import heard_by
from exporters.environment import cpuinfo
from exporters.targets.target import Missing, TargetFailed

X86_64 = ("x86_64", "amd64")


@dataclass(frozen=True)
class Setting:
    """A variable of the environment and its value. flag: what the processor must have for it."""

    variable: str
    value: str
    flag: str | None = None

    def missing(self) -> Missing | None:
        """Why it tells nobody anything here, or the wrong thing."""
        if platform.machine().lower() not in X86_64:
            return Missing("this processor is no x86-64", "run it on one")
        if self.flag is not None and self.flag not in " ".join(cpuinfo("flags") or ()).split():
            return Missing(f"this processor has no {self.flag}", "run it on one that has")
        if self.variable == OPENBLAS and "openblas" not in _blas():
            return Missing("this numpy is built on another BLAS", "pip install numpy")
        return None


OPENBLAS = "OPENBLAS_CORETYPE"

ONEDNN_AVX = Setting("ONEDNN_MAX_CPU_ISA", "AVX")
"""OpenVINO's convolutions, without fused multiply-adds. With AVX2, which has them, the answers are
those of AVX-512 to the last bit; with SSE41 OpenVINO 2026.4 gives empty ones.
https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html"""
OPENBLAS_AVX2 = Setting(OPENBLAS, "Haswell", flag="avx2")
OPENBLAS_SSE4 = Setting(OPENBLAS, "Nehalem")
"""Numpy's matrix products, by a processor that had no more."""

Answer = TypeVar("Answer")


def run_with(setting: Setting, run: Callable[..., Answer], *arguments: Any) -> Answer:
    """What `run` answers in a process that has the setting. All of it is pickled.

    TargetFailed where that process ends; an exception of `run` is raised here.
    """
    worker = _WORKERS.pop(setting, None) or _Worker(setting)
    answer, error = worker.ask(run, arguments)
    _WORKERS[setting] = worker  # not after an interruption: its answer would be the next one's
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]


class _Worker:
    """A process that answers one question after the other, until its parent goes or stops it."""

    def __init__(self, setting: Setting) -> None:
        context = get_context("spawn")
        self._here, there = context.Pipe()
        self._process: BaseProcess = context.Process(target=_answer, args=(there,), daemon=True)
        # What is started meanwhile leaves Ctrl-C to this process.
        with _environment(setting), heard_by(signal.SIGINT, signal.SIG_IGN):
            self._process.start()
        there.close()  # so that either end sees the other's go

    def ask(
        self, run: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> tuple[Any, Exception | None]:
        """(answer, None), or (None, what it raised)."""
        with ExitStack() as stack:
            stack.callback(self.stop)
            try:
                self._here.send((run, arguments))
                answer, error = self._here.recv()
            except (EOFError, OSError) as gone:
                self._process.join()
                code = self._process.exitcode
                raise TargetFailed(
                    f"the process with older instructions has ended (exit code {code})"
                ) from gone
            stack.pop_all()
        return answer, error

    def stop(self) -> None:
        """At once, and whatever signals it ignores."""
        self._process.kill()
        self._process.join()
        self._here.close()


_WORKERS: dict[Setting, _Worker] = {}


@atexit.register  # before multiprocessing's own, which would wait for them
def _stop_all() -> None:
    for worker in _WORKERS.values():
        worker.stop()


def _answer(there: Connection) -> None:
    with suppress(EOFError, OSError):  # whoever asked has gone
        while True:
            there.send(_tried(*there.recv()))


def _tried(
    run: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, None] | tuple[None, Exception]:
    try:
        return run(*arguments), None
    except Exception as error:  # for whoever asked
        return None, error


@contextmanager
def _environment(setting: Setting) -> Iterator[None]:
    before = os.environ.get(setting.variable)
    os.environ[setting.variable] = setting.value
    try:
        yield
    finally:
        if before is None:
            del os.environ[setting.variable]
        else:
            os.environ[setting.variable] = before


def _blas() -> str:
    return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
