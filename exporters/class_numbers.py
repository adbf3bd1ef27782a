"""The judge of engines that answer with class numbers: there are no logits to compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.interpreter import Array
from compiler.lower import CLASSES, INPUT
from datac.documents.report import OutputError
from exporters.disagreement import LARGEST_MARGIN
from exporters.embedded import classes_of
from exporters.numbers import Answering, Numbers
from exporters.reference import Case
from exporters.saved import strain
from exporters.targets.target import Arrays

MOST_TURNED = 0.1
"""Share of the decisions of an input that may differ, whatever their margins: in int8 an error may
be as large as most margins."""


def judge_classes(
    runner: Answering, cases: Sequence[Case], logits: Sequence[Array], predicted: float
) -> Numbers:
    """An engine whose answer is class numbers: each that differs must be a tie.

    logits: of each case in float64. predicted: the relative RMS error to expect of them. The error
    of a case is the largest margin of a decision that differs, in the logits' own units.
    """
    errors: list[OutputError] = []
    for case, exact in zip(cases, logits, strict=True):
        answers = runner.run({INPUT: case.input})
        wrong = _malformed(answers, exact)
        if wrong is not None:
            return Numbers("fail", tuple(errors), f"{wrong} on input {case.name}", malformed=True)
        differ = classes_of(answers) != exact.argmax(axis=1)
        if differ.mean() > MOST_TURNED:
            reason = f"{differ.mean():.0%} of the decisions on input {case.name} are others"
            return Numbers("fail", tuple(errors), reason, malformed=True)
        ordered = np.sort(exact, axis=1)
        second = ordered[:, -2] if exact.shape[1] > 1 else ordered[:, -1]
        margins = (ordered[:, -1] - second)[differ]
        size = float(np.sqrt(np.mean(np.square(exact))))
        largest = float(margins.max(initial=0.0))
        errors.append(
            OutputError(
                max_abs=largest,
                rms=largest,
                tolerance=LARGEST_MARGIN * predicted * size,
                output=CLASSES,
                input=case.name,
            )
        )
    worst = max(errors, key=strain)
    if strain(worst) <= 1:
        return Numbers("pass", tuple(errors))
    reason = (
        f"output {CLASSES} decides on input {worst.input} against a margin of {worst.rms:.3g}; "
        f"its arithmetic explains {worst.tolerance:.3g}"
    )
    return Numbers("fail", tuple(errors), reason)


def _malformed(answers: Arrays, exact: Array) -> str | None:
    if CLASSES not in answers:
        return f"there is no output {CLASSES}"
    wanted = (exact.shape[0], *exact.shape[2:])
    if answers[CLASSES].shape != wanted:
        return f"output {CLASSES} has shape {answers[CLASSES].shape}, not {wanted}"
    numbers = answers[CLASSES]
    if int(numbers.min(initial=0)) < 0 or int(numbers.max(initial=0)) >= exact.shape[1]:
        return f"output {CLASSES} has numbers of no class"
    return None
