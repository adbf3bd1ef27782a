"""A report as JUnit XML, which every CI service shows: one test case for each judgement."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from datac.documents.report import Report, TargetResult
from datac.report import wording


@dataclass(frozen=True)
class Case:
    """One judgement. failure: why it failed; skipped: why nothing could be judged."""

    name: str
    failure: str | None = None
    skipped: str | None = None


def junit(report: Report) -> str:
    """The document. What did not run here is skipped, with the reason."""
    cases = [*_cases(report)]
    counts = {
        "tests": len(cases),
        "failures": sum(case.failure is not None for case in cases),
        "skipped": sum(case.skipped is not None for case in cases),
        "errors": 0,
    }
    attributes = {key: str(value) for key, value in counts.items()}
    root = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {"name": report.name, "timestamp": report.environment.date} | attributes,
    )
    for case in cases:
        element = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": f"datac.{report.name}", "name": case.name},
        )
        if case.failure is not None:
            ElementTree.SubElement(element, "failure", {"message": case.failure})
        elif case.skipped is not None:
            ElementTree.SubElement(element, "skipped", {"message": case.skipped})
    ElementTree.indent(root)
    return _plain(ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n")


def _cases(report: Report) -> Iterator[Case]:
    said = "; ".join(report.structure.differences) or "it differs"
    verdict = report.structure.verdict
    yield Case(
        "structure",
        failure=said if verdict == "fail" else None,
        skipped=said if verdict == "inconclusive" else None,
    )
    for target in report.results:
        yield _target(target)


def _target(target: TargetResult) -> Case:
    name = wording.target_name(target)
    if target.verdict == "fail" or target.status == "failed":
        return Case(name, failure=target.reason or "the gate failed")
    if target.verdict != "pass":
        return Case(name, skipped=wording.status(target))
    return Case(name)


def _plain(text: str) -> str:
    """Without what XML 1.0 cannot hold: a runtime's message may be coloured."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
