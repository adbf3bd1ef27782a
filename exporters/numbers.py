"""The judge of numbers: what a runner answers against the float64 reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from compiler.lower import INPUT
from datac.documents.precision import Precision
from datac.documents.profile import Profile
from datac.documents.report import OutputError, Verdict
from exporters.reference import Case, Reference
from exporters.saved import strain
from exporters.targets.target import Array, Arrays

ARITHMETIC_OF: dict[Precision, str] = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "int8": "int8",
}


@dataclass(frozen=True)
class Numbers:
    """Every output of every case. `reason` says what failed, or why nothing could be judged.

    malformed: it fails whatever is tolerated.
    """

    verdict: Verdict
    errors: tuple[OutputError, ...]
    reason: str | None = None
    malformed: bool = False

    @property
    def worst(self) -> OutputError | None:
        """The error that comes nearest to its tolerance, or exceeds it most."""
        return max(self.errors, key=strain, default=None)


class Answering(Protocol):
    """What is judged: an engine, or what somebody else's run of it left."""

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """All outputs by name."""


def judge_numbers(
    runner: Answering,
    reference: Reference,
    sizes: Profile | None,
    precision: Precision = "f32",
) -> Numbers:
    """Run every case within `sizes` (None: any) and compare every output.

    precision: the one that the reference predicts errors of.
    """
    cases = reference.fitting(sizes)
    if not cases:
        wanted = "at all" if sizes is None else sizes.words
        return Numbers("inconclusive", (), f"the reference has no input of size {wanted}")
    errors: list[OutputError] = []
    for case in cases:
        answers = runner.run({INPUT: case.input})
        reason = _malformed(case, answers)
        if reason is not None:
            return Numbers("fail", tuple(errors), reason, malformed=True)
        errors += [_error(reference, case, key, answers) for key in case.outputs]
    worst = max(errors, key=strain)
    if strain(worst) <= 1:
        return Numbers("pass", tuple(errors))
    reason = (
        f"output {worst.output} is off by {worst.rms:.3g} (RMS) on input {worst.input}; "
        f"{ARITHMETIC_OF[precision]} arithmetic explains {worst.tolerance:.3g}"
    )
    return Numbers("fail", tuple(errors), reason)


def _malformed(case: Case, answers: Arrays) -> str | None:
    for key, expected in case.outputs.items():
        if key not in answers:
            return f"there is no output {key}"
        if answers[key].shape != expected.shape:
            return f"output {key} has shape {answers[key].shape}, not {expected.shape}"
        bad = int(np.count_nonzero(~np.isfinite(answers[key])))
        if bad:
            return f"output {key} has {bad} values that are NaN or infinite on input {case.name}"
    return None


def _error(reference: Reference, case: Case, key: str, answers: Arrays) -> OutputError:
    difference = np.abs(answers[key].astype(np.float64) - case.outputs[key])
    return OutputError(
        max_abs=float(difference.max()),
        rms=float(np.sqrt(np.mean(np.square(difference)))),
        tolerance=reference.tolerance(case, key),
        output=key,
        input=case.name,
    )
