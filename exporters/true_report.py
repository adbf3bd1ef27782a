"""Whether the report of a build tells of the files of its manifest, and of what it has measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datac import __version__
from datac.documents.build_folder import ENGINES, MODEL, REPORT, SIDE_CAR, Manifest
from datac.documents.read import read_json
from datac.documents.report import Report, TargetResult
from datac.errors import BadInput
from exporters.saved import judge_saved

WAY_OUT = "compile again, or remove it and report.html"


def contradiction(folder: Path, manifest: Manifest) -> str | None:
    """One sentence where the report of a build contradicts the manifest, or its own figures.

    A build without a report is whole: it only tells of it. One that another datac wrote is not
    looked at, since it may say more, or less.
    """
    path = folder / REPORT
    if not path.is_file() or manifest.datac_version != __version__:
        return None
    try:
        wrong = next(_contradictions(read_json(path, Report), manifest), None)
    except BadInput as error:
        return f"{error}; {WAY_OUT}"
    return None if wrong is None else f"{path} contradicts its build ({wrong}); {WAY_OUT}"


def _contradictions(report: Report, manifest: Manifest) -> Iterator[str]:
    hashes = {report.genotype.hash, report.genotype_hash}
    if manifest.genotype_hash not in hashes:
        yield "it is of another genotype"
    if len(hashes) > 1:
        yield "its genotype has another hash than it says"
    engines = {f"{ENGINES}/{result.target}-{result.precision}/" for result in report.targets}
    for name in manifest.files:
        if name.endswith(f"/{SIDE_CAR}") and not name.startswith(tuple(engines)):
            yield f"it says nothing of {name.removesuffix(f'/{SIDE_CAR}')}"
    again = judge_saved(report)
    if report.verdict != again.verdict:
        yield f"it says {report.verdict}, and its own figures say {again.verdict}"
    if report.fastest != again.fastest:
        yield "another engine is the fastest by its own figures"
    for said, judged in zip(report.results, again.results, strict=True):
        name = MODEL if said is report.canonical else f"{said.target} {said.precision}"
        own = "fail" if said.status == "failed" else judged.verdict
        if said.verdict != own:
            yield f"{name}: it says {said.verdict}, and its figures {own}"
        if said.digest is not None and said.digest not in _digests(said, report, manifest):
            yield f"{name}: it tells of a file that the manifest has not"


def _digests(result: TargetResult, report: Report, manifest: Manifest) -> set[str]:
    """Of the files that may be what the result is of."""
    place = f"{ENGINES}/{result.target}-{result.precision}/"
    model = result is report.canonical
    return {
        file.sha256
        for name, file in manifest.files.items()
        if (name == MODEL if model else name.startswith(place))
    }
