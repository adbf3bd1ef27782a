"""How far a TensorRT build is, and how to stop one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """TensorRT's nested phases, each of so many steps, as one share done.

    A phase below another fills a part of the step that the other is at. The share never
    falls, though a finished phase leaves before its parent counts the step.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Phase] = {}
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        self._open[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str) -> None:
        """One of its steps is done."""
        if name in self._open:
            self._open[name].done += 1

    def finish(self, name: str) -> None:
        """It ends, or was broken off."""
        self._open.pop(name, None)

    @property
    def share(self) -> float:
        """Done, in 0..1."""
        roots = [name for name, phase in self._open.items() if phase.parent not in self._open]
        now = max((self._of(name) for name in roots), default=0.0)
        self._share = max(self._share, now)
        return self._share

    def _of(self, name: str) -> float:
        phase = self._open[name]
        below = [child for child, other in self._open.items() if other.parent == name]
        within = max((self._of(child) for child in below), default=0.0)
        return min(1.0, (phase.done + within) / phase.steps)


class Interruption:
    """Ctrl-C, or an error of the callback, kept while TensorRT's C++ is on the stack.

    An exception that travels through C++ ends the process; TensorRT is told to stop instead,
    and the exception goes on from where the build was called.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def resume(self) -> None:
        """Raise what was kept."""
        if self.error is not None:
            raise self.error


def monitor(
    trt: Any,
    progress: Callable[[str, float], None] | None,
    title: str,
    interruption: Interruption,
) -> Any:
    """TensorRT's progress monitor over `progress`. Keep it alive until the build is over."""
    phases = Phases()

    def tell() -> None:
        try:
            if progress is not None:
                progress(title, phases.share)
        except BaseException as error:
            interruption.error = error

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Called by TensorRT from its own threads, one at a time under the interpreter's lock."""

        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins."""
            phases.start(phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            """A phase ends."""
            phases.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002
            """A step is done; False stops the build."""
            phases.step(phase_name)
            tell()
            return interruption.error is None

    return Monitor()
