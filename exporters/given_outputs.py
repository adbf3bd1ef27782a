"""What somebody else's run of a build's inputs answered, judged as if it were an engine's."""

from __future__ import annotations

from pathlib import Path

from compiler.lower import INPUT, OUTPUT
from datac.documents.precision import Precision
from datac.documents.profile import only
from datac.documents.report import Report, TargetResult
from datac.errors import BadInput
from exporters.build_folder import read_manifest
from exporters.check import report_of
from exporters.numbers import judge_numbers
from exporters.polygraphy_json import load_outputs, save_inputs, save_outputs
from exporters.precision import plan_for
from exporters.reference import Case
from exporters.subject import Subject, open_subject
from exporters.targets.target import Array, Arrays
from exporters.task import TaskResult

FLOAT64 = "datac-float64"


def save_reference(build: Path, inputs: Path | None, outputs: Path | None) -> int:
    """Write the reference's cases of the network's own size; how many there are.

    The outputs are float64's, rounded to float32, as answers of a runner `datac-float64`.
    """
    subject = open_subject(build, read_manifest(build))
    cases = _cases(subject)
    if inputs is not None:
        save_inputs(inputs, [{INPUT: case.input} for case in cases])
    if outputs is not None:
        answers = [{k: v.astype("float32") for k, v in case.outputs.items()} for case in cases]
        save_outputs(outputs, FLOAT64, answers)
    return len(cases)


def judge_outputs(build: Path, outputs: Path, precision: Precision, command: str) -> Report:
    """Structure of the build, and the numbers of every runner in the file.

    BadInput where a runner has not one answer for each of the inputs that `save_reference` writes.
    """
    manifest = read_manifest(build)
    subject = open_subject(build, manifest)
    cases = _cases(subject)
    inputs = [case.input for case in subject.reference.cases]
    plan = plan_for(subject.graph, precision, inputs)
    reference = subject.reference_for(plan)
    results = []
    for runner, answers in load_outputs(outputs).items():
        if len(answers) != len(cases):
            raise BadInput(
                f"{outputs}: {runner} answered {len(answers)} times, but the build's reference has "
                f"{len(cases)} inputs; run it on those of datac check --save-inputs"
            )
        played = _Played(cases, answers)
        numbers = judge_numbers(played, reference, only(subject.input_shape), precision)
        results.append(
            TargetResult(
                target=runner,
                precision=precision,
                status="run",
                verdict=numbers.verdict,
                reason=numbers.reason,
                defects=(numbers.reason,) if numbers.malformed and numbers.reason else (),
                error=numbers.worst,
                outputs=numbers.errors,
            )
        )
    return report_of(subject, None, tuple(results), TaskResult({}), command)


def _cases(subject: Subject) -> tuple[Case, ...]:
    return subject.reference.of_shape(subject.input_shape)


class _Played:
    """A runner that answers what was answered before."""

    def __init__(self, cases: tuple[Case, ...], answers: list[dict[str, Array]]) -> None:
        self._answers = {
            id(case.input): answer for case, answer in zip(cases, answers, strict=True)
        }

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """The one output, whatever it is called, or those by the network's names."""
        answer = self._answers[id(inputs[INPUT])]
        if OUTPUT not in answer and len(answer) == 1:
            return {OUTPUT: next(iter(answer.values()))}
        return answer
