"""Whether the report of a build tells of the files that are there, and of what it has measured."""

from __future__ import annotations

from pathlib import Path

from datac.documents.build_folder import ENGINES, MODEL, REPORT, Manifest
from datac.documents.read import read_json
from datac.documents.report import Report, TargetResult
from datac.errors import BadInput
from exporters.saved import judge_saved


def require_true_report(folder: Path, manifest: Manifest) -> None:
    """BadInput where a build's report tells of other files, or another verdict than its figures.

    A build without a report is whole: it only tells of it.
    """
    path = folder / REPORT
    if not path.is_file():
        return
    report = read_json(path, Report)
    again = judge_saved(report)
    wrong = None
    if report.genotype.hash != manifest.genotype_hash:
        wrong = "it is of another genotype"
    elif report.verdict != again.verdict:
        wrong = f"it says {report.verdict}, and its own figures say {again.verdict}"
    for said, judged in zip(_results(report), _results(again), strict=True):
        name = MODEL if said is report.canonical else f"{said.target} {said.precision}"
        if said.verdict != judged.verdict:
            wrong = wrong or f"{name}: it says {said.verdict}, and its figures {judged.verdict}"
        if said.digest is not None and said.digest not in _digests(said, report, manifest):
            wrong = wrong or f"{name}: it tells of a file that is not in the build"
    if wrong:
        raise BadInput(f"{path} contradicts its build ({wrong}); compile again, or remove it")


def _results(report: Report) -> tuple[TargetResult, ...]:
    return (*([] if report.canonical is None else [report.canonical]), *report.targets)


def _digests(result: TargetResult, report: Report, manifest: Manifest) -> set[str]:
    """Of the files that may be what the result is of."""
    place = f"{ENGINES}/{result.target}-{result.precision}/"
    model = result is report.canonical
    return {
        file.sha256
        for name, file in manifest.files.items()
        if (name == MODEL if model else name.startswith(place))
    }
