"""Runs with older vector instructions than the processor has, where a library can be told so.

It is told by its environment and listens once, as it is loaded; so such runs have a process of
their own, which stays for the next one. ONNX Runtime cannot be told.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from typing import Any, TypeVar

Setting = tuple[str, str]
"""A variable of the environment and its value."""

ONEDNN_SSE4: Setting = ("ONEDNN_MAX_CPU_ISA", "AVX")
"""OpenVINO's convolutions, without fused multiply-adds. With AVX2, which has them, the answers are
those of AVX-512 to the last bit.
https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html"""
OPENBLAS_AVX2: Setting = ("OPENBLAS_CORETYPE", "Haswell")
OPENBLAS_SSE4: Setting = ("OPENBLAS_CORETYPE", "Nehalem")
"""Numpy's matrix products, by a processor that had no more."""

Answer = TypeVar("Answer")


def run_with(setting: Setting, run: Callable[..., Answer], *arguments: Any) -> Answer:
    """What `run` answers in a process that has the setting. All of it is pickled."""
    return _process(setting).submit(run, *arguments).result()


@cache
def _process(setting: Setting) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_leave_interrupts_to_parent)
    with _environment(setting):  # as it starts
        pool.submit(os.getpid).result()
    return pool


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _environment(setting: Setting) -> Iterator[None]:
    name, value = setting
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
