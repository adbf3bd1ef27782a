"""A report on the terminal: the verdict, the page's table of targets, what differs."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from datac.documents.environment import Environment
from datac.documents.report import Report, TargetResult
from datac.report import wording
from datac.report.rows import metric_title, rows
from datac.report.wording import NOTHING

STATUS = {"run": "run", "built": "built, not run", "missing": "missing", "failed": "failed"}
COLORS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def summarise(report: Report) -> RenderableType:
    """For `rich.print`. Text from the report is never read as rich's markup."""
    parts: list[RenderableType] = [_verdict(report), _facts(report)]
    judged = report.results
    if judged:
        parts += [Text(), _table(report), Text()]
        parts += [line for target in judged for line in _remarks(target, report.environment)]
    fastest = wording.fastest(report)
    parts += [Text(fastest)] if fastest else []
    reference = wording.reference(report)
    parts += [Text(reference, style="dim")] if reference else []
    parts += [Text(f"- {difference}") for difference in report.structure.differences]
    return Group(*parts)


def _verdict(report: Report) -> Text:
    style = f"bold {COLORS[report.verdict]}"
    return Text.assemble((report.verdict.upper(), style), "  ", wording.reason(report))


def _facts(report: Report) -> Text:
    return Text(
        f"{report.name} ({wording.short(report.genotype_hash)}): "
        f"{wording.count(report.parameters)} parameters, "
        f"{wording.count(report.multiply_adds)} multiply-adds, weights {report.weights}",
        style="dim",
    )


def _table(report: Report) -> Table:
    """Columns that no target fills are left out, so that the rest has room."""
    lines = rows(report)
    columns = {
        "target": [Text(f"{row.target} {row.precision}", style="bold") for row in lines],
        "status": [Text(STATUS[row.kind]) for row in lines],
        "verdict": [Text(row.verdict, style=COLORS.get(row.verdict, "")) for row in lines],
        "rms error": [Text(row.rms) for row in lines],
        "tolerance": [Text(row.tolerance) for row in lines],
        metric_title(report): [Text(row.metric) for row in lines],
        "median ms": [Text(row.median) for row in lines],
        "p90": [Text(row.p90) for row in lines],
    }
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown = {
        title: cells
        for title, cells in columns.items()
        if any(cell.plain != NOTHING for cell in cells)
    }
    for title in shown:
        words = title in ("target", "status", "verdict")
        table.add_column(title, justify="left" if words else "right")
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*cells)
    return table


def _remarks(target: TargetResult, here: Environment) -> list[Text]:
    """What does not fit into a column: the reason of a status, a latency that says nothing."""
    remarks = []
    if target.reason is not None or target.status in ("missing", "failed"):
        remarks.append(wording.status(target))
    latency = target.latency_ms
    if latency is not None and not latency.conclusive:
        remarks.append(
            "the latency is inconclusive, its spread is too wide; time it on an idle machine"
            + (", or with --threads 1" if latency.threads not in (None, 1) else "")
        )
    remarks += [said for said in _said(target, here) if said]
    name = wording.target_name(target)
    return [Text.assemble((name, "bold"), " ", remark) for remark in remarks]


def _said(target: TargetResult, here: Environment) -> tuple[str | None, ...]:
    return (
        wording.comparison(target),
        wording.at_sizes(target),
        wording.tuning(target, here),
        wording.predicted(target),
    )
