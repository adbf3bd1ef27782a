"""A run whose loss, or the gradient of it, is no longer finite: seen at its step, with the cause.

What a step gives is looked at before anything moves by it, so a divergence leaves weights and
logits as they were, and no checkpoint is ever made of it. On a GPU reading a number would make
every step wait; there the copy of one look is read at the next one, when it has long arrived, and
by then a step has moved the weights. The gradient of the logits is on the host everywhere, so it
is judged at once: what is drawn next needs finite logits.

Of several processes all see the same: loss and gradients are means over them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Learners = Literal["weights", "logits"]

REMEMBERED = 64
"""Norms of gradients that an explosion is judged by."""

EXPLOSION = 100.0
"""A norm so many times the smallest remembered one is said to explode."""

HUGE_LOGIT = 100.0
"""exp(-104) is 0 in float32: so are the probabilities beside such a logit, and their gradients."""

HUGE_WEIGHT = 1e6
"""Far beyond what a weight behind a batch norm learns; products of a few such leave float32."""


class NotFiniteError(Exception):
    """What `what` was at a step, counted from 0. value: NaN or infinite.

    moved: whether learners have moved by it, so that they say nothing about the cause any more.
    cause: where it is known.
    """

    def __init__(self, what: str, value: float, step: int, *, moved: bool, cause: str = "") -> None:
        super().__init__(f"{what} is {value} at step {step}")
        self.what, self.value, self.step = what, value, step
        self.moved, self.cause = moved, cause


class Watch:
    """Looks at every step's loss and norm. late: read a look at the next one."""

    def __init__(self, *, late: bool = False) -> None:
        self._late = late
        self._pending: _Look | None = None
        self._norms: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def norms(self) -> tuple[float, ...]:
        """Of the gradients of the weights in the last steps, before clipping; all finite."""
        return tuple(self._norms)

    def look(self, step: int, learners: Learners, loss: Tensor, norm: Tensor) -> None:
        """NotFiniteError where the loss or the norm of its gradient, (), is NaN or infinite."""
        look = _Look(step, learners, loss, norm)
        late = self._late and not (learners == "logits" and not math.isfinite(norm))
        pending, self._pending = self._pending, look if late else None
        self._judge(pending, moved=True)
        if not late:
            self._judge(look, moved=False)

    def settle(self) -> None:
        """Read what a late watch has not read yet."""
        look, self._pending = self._pending, None
        self._judge(look, moved=True)

    def _judge(self, look: _Look | None, *, moved: bool) -> None:
        if look is None:
            return
        loss, norm = look.read()
        for what, value in (("loss", loss), (f"gradient of the {look.learners}", norm)):
            if not math.isfinite(value):
                raise NotFiniteError(f"the {what}", value, look.step, moved=moved)
        if look.learners == "weights":
            self._norms.append(norm)


class _Look:
    """Loss and norm of one step on their way to the host."""

    def __init__(self, step: int, learners: Learners, loss: Tensor, norm: Tensor) -> None:
        self.step, self.learners = step, learners
        on_gpu = loss.is_cuda or norm.is_cuda
        self._values = [each.detach().to("cpu", non_blocking=True) for each in (loss, norm)]
        self._arrived = torch.cuda.current_stream().record_event() if on_gpu else None

    def read(self) -> tuple[float, float]:
        """Both, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        loss, norm = self._values
        return float(loss), float(norm)


# ---------------------------------------------------------------- why


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a cause is looked for in.

    data: the name of the data set. images_finite: of the last steps. learners: all that moves,
    by name. logits: those among them that probabilities are made of. norms: see `Watch`.
    """

    data: str
    images_finite: bool
    learners: Mapping[str, Tensor]
    logits: Mapping[str, Tensor]
    norms: Sequence[float]


def cause_of(found: NotFiniteError, evidence: Evidence) -> str:
    """The first that holds, as a clause: images, learners, logits, weights, gradients, the rest."""
    return next(_causes(found, evidence))


def _causes(found: NotFiniteError, evidence: Evidence) -> Iterator[str]:
    if not evidence.images_finite:
        yield f"{evidence.data} gave images that are not finite"
    if found.cause:
        yield found.cause
    broken = None if found.moved else first_not_finite(evidence.learners)
    if broken is not None:
        yield f"{broken} was not finite before that step"
    for huge in _above(HUGE_LOGIT, evidence.logits):
        yield f"{huge}, where probabilities are 0 or 1"
    for huge in _above(HUGE_WEIGHT, evidence.learners):
        yield f"{huge}, so the steps are too long"
    norms = evidence.norms
    if norms and norms[-1] > EXPLOSION * min(norms):
        yield (
            f"the norm of the gradient grew from {min(norms):.3g} to {norms[-1]:.3g}, "
            "so the steps are too long"
        )
    yield "its activations overflow"


def check_finite(learners: Mapping[str, Tensor], step: int) -> None:
    """NotFiniteError where a step, counted from 0, has moved one of them out of all bounds."""
    broken = first_not_finite(learners)
    if broken is not None:
        values = learners[broken].detach()
        value = float(values[~torch.isfinite(values)][0])
        cause = "that step moved it too far"
        raise NotFiniteError(broken, value, step, moved=True, cause=cause)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinity."""
    return next((name for name, tensor in tensors.items() if not all_finite([tensor])), None)


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether none of them holds a NaN or an infinity."""
    return all(bool(torch.isfinite(tensor.detach()).all()) for tensor in tensors)


def _above(limit: float, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in tensors.items():
        largest = float(tensor.detach().abs().max())
        if largest > limit:
            yield f"{name} has grown to {largest:.3g}"
