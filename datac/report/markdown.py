"""A report as Markdown, for a comment on a pull request or the summary of a job."""

from datac.documents.report import Report
from datac.report import wording
from datac.report.rows import metric_title, rows
from datac.report.wording import NOTHING

HARMLESS = {ord(mark): f"\\{mark}" for mark in "\\`*_[]|#!"} | {
    ord(mark): f"&#{ord(mark)};" for mark in "<>@&:"
}
"""Character → what shows as it and does nothing. Without a colon no address is made a link."""

MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️"}


def markdown(report: Report) -> str:
    """Verdict, table of targets, what differs. Nothing of a report is read as Markdown."""
    lines = [
        f"### {MARKS[report.verdict]} datac: {report.verdict}",
        "",
        _plain(wording.reason(report)),
        "",
        f"`{_code(report.name)}` ({_plain(wording.short(report.genotype_hash))}): "
        f"{wording.count(report.parameters)} parameters, "
        f"{wording.count(report.multiply_adds)} multiply-adds",
        "",
        *_table(report),
    ]
    differences = report.structure.differences
    if differences:
        lines += ["", "What differs:", "", *(f"- {_plain(line)}" for line in differences)]
    remarks = [
        f"- {_plain(wording.target_name(target))}: {_plain(target.reason)}"
        for target in report.results
        if target.reason is not None
    ]
    remarks += [
        f"- {_plain(wording.target_name(target))}: {_plain(said)}"
        for target in report.results
        for said in (wording.comparison(target), wording.at_sizes(target))
        if said is not None
    ]
    fastest = wording.fastest(report)
    remarks += [] if fastest is None else [f"- {_plain(fastest)}"]
    if remarks:
        lines += ["", *remarks]
    return "\n".join([*lines, ""])


def _table(report: Report) -> list[str]:
    columns = ("target", "status", "verdict", "rms error", "tolerance", metric_title(report), "ms")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows(report):
        mark = MARKS.get(row.verdict, NOTHING)
        cells = (
            f"{row.target} {row.precision}",
            row.kind,
            mark,
            row.rms,
            row.tolerance,
            row.metric,
            row.median,
        )
        lines.append("| " + " | ".join(_plain(cell) for cell in cells) + " |")
    return lines


def _plain(text: str) -> str:
    """Text from a report, harmless: no table, link, image, mention or HTML can be made of it."""
    return " ".join(text.translate(HARMLESS).replace("www.", "www\\.").split())


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
