"""Where an engine decides otherwise than the reference: ties that rounding breaks, or a fault.

Two logits that are nearly equal may change places by rounding, and at the border of two labels many
are. A decision whose margin is far larger than the rounding of the engine's precision is none that
rounding can turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datac.documents.report import Disagreement

LARGEST_MARGIN = 20.0
"""Predicted RMS errors of a logit. The difference of two is √2 of them; the largest of ten million
normal ones is 5.5 of these, so 8; the rest is for pixels whose logits are larger than most, and for
images unlike the reference's. On the 10 million pixels of CamVid's test images healthy engines came
to 2.4 in f32, 9.6 in f16 and 10.6 in bf16 (docs/results/precision.md)."""

BORDER = 2
"""Pixels from another label."""

Classes = NDArray[np.integer]


@dataclass
class Disagreements:
    """Counted over samples. `predicted`: the RMS error to expect, over the RMS of the logits."""

    predicted: float
    count: int = 0
    clear: int = 0
    largest: float = 0.0
    at_border: int = 0
    borders_known: bool = False

    def add(self, logits: NDArray[np.generic], answer: Classes, label: Classes | int) -> None:
        """One sample. logits: the reference's, (K,) or (K, H, W); answer: the engine's classes."""
        values = logits.astype(np.float64)
        differ = np.asarray(values.argmax(axis=0) != answer)
        if not differ.any():
            return
        error = self.predicted * float(np.sqrt(np.mean(np.square(values))))
        best = np.sort(values, axis=0)[-2:]
        margins = (best[1] - best[0])[differ] / max(error, np.finfo(np.float64).tiny)
        self.count += int(differ.sum())
        self.clear += int((margins > LARGEST_MARGIN).sum())
        self.largest = max(self.largest, float(margins.max()))
        if isinstance(label, np.ndarray):
            self.borders_known = True
            self.at_border += int((differ & near_border(label)).sum())

    def document(self) -> Disagreement:
        """For the report."""
        known = self.borders_known and self.count
        return Disagreement(
            count=self.count,
            clear=self.clear,
            largest_margin=self.largest,
            at_border=self.at_border / self.count if known else None,
        )


def near_border(label: Classes) -> NDArray[np.bool_]:
    """(H, W): whether another label lies within BORDER pixels, along rows and columns."""
    found = np.zeros(label.shape, bool)
    for axis in (0, 1):
        for step in range(1, BORDER + 1):
            if step >= label.shape[axis]:
                continue
            head = [slice(None), slice(None)]
            tail = [slice(None), slice(None)]
            head[axis], tail[axis] = slice(None, -step), slice(step, None)
            differs = label[tuple(head)] != label[tuple(tail)]
            found[tuple(head)] |= differs
            found[tuple(tail)] |= differs
    return found


def why_clear(found: Disagreement | None, reference: str) -> str | None:
    """One sentence where some decision is none that rounding can turn."""
    if found is None or not found.clear:
        return None
    what = "decision" if found.clear == 1 else "decisions"
    return (
        f"{found.clear} {what} of {found.count} that differ from {reference}'s have margins up to "
        f"{found.largest_margin:.3g} times the rounding that is predicted"
    )
