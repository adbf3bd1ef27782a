"""The page of a build, and the one entrance for builds and runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from datac.documents.build_folder import REPORT
from datac.documents.genotype import Genotype
from datac.documents.read import read_json
from datac.documents.report import Masks, Report, TargetResult
from datac.documents.sentences import counted
from datac.errors import BadInput
from datac.report import html, run_page, wording
from datac.report.draw_cell import draw_cells
from datac.report.figures import error_figure, latency_figure
from datac.report.rows import metric_title, rows
from datac.report.svg import element


@dataclass(frozen=True)
class PerClass:
    """The metric of every class (a line) under every target (a column)."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def write_page(folder: Path) -> Path:
    """Write `report.html` into a BUILD or RUN folder, from what stands in it; return its path."""
    if (folder / REPORT).is_file():
        return html.write(folder, render(read_json(folder / REPORT, Report)))
    if run_page.is_run(folder):
        return html.write(folder, run_page.render_run(run_page.read_run(folder)))
    what = "is not a folder" if not folder.is_dir() else "is neither a build nor a run"
    raise BadInput(
        f"{folder} {what}: no {REPORT} (a build), {run_page.RESULT} or {run_page.METRICS} (a run) "
        "was found in it; give a folder that datac compile, search or train wrote."
    )


def render(report: Report) -> str:
    """One self-contained HTML page; whatever stands in the report is text, never markup."""
    genotype = report.genotype
    return html.fill(
        "build.html.j2",
        report=report,
        network=genotype.network,
        provenance=genotype.provenance,
        short_hash=wording.short(report.genotype_hash),
        reason=wording.reason(report),
        reference=wording.reference(report),
        fastest=wording.fastest(report),
        parameters=wording.count(report.parameters),
        multiply_adds=wording.count(report.multiply_adds),
        rows=rows(report),
        nothing=wording.NOTHING,
        metric_title=metric_title(report),
        latency=latency_figure(report.targets),
        errors=error_figure(report.targets),
        timing=_timing(report.targets),
        pictures=_pictures,
        legend=_legend(genotype),
        cells=draw_cells(genotype),
        per_class=_per_class(report.targets),
    )


def _timing(targets: Sequence[TargetResult]) -> str:
    """How the latencies were taken: once where it is the same for all."""
    ways: dict[str, list[str]] = {}
    for target in targets:
        latency = target.latency_ms
        if latency is None:
            continue
        calls, rounds = counted(latency.calls, "call"), counted(latency.rounds, "round")
        way = f"batch {latency.batch}, {calls} in {rounds}"
        if latency.threads is not None:
            way += f", {counted(latency.threads, 'thread')}"
        way += f", on {latency.device}"
        if latency.transfer_median is not None:
            way += f"; transfers {wording.milliseconds(latency.transfer_median)} ms, not counted"
        ways.setdefault(way, []).append(wording.target_name(target))
    if len(ways) == 1:
        way = next(iter(ways))
        return f"{way[0].upper()}{way[1:]}."
    return " ".join(f"{', '.join(names)}: {way}." for way, names in ways.items())


def _pictures(masks: Masks) -> list[tuple[str, str]]:
    """(name, base64 PNG): the input, the label, and every runtime's answer."""
    label = [("label", masks.label)] if masks.label else []
    return [("input", masks.input), *label, *masks.predictions.items()]


def _legend(genotype: Genotype) -> list[tuple[str, Markup]]:
    """Class names with a square of their colour, where the network knows both."""
    info = genotype.network.class_info if genotype.network else None
    if info is None or not info.colors:
        return []
    return [(name, _square(color)) for name, color in zip(info.names, info.colors, strict=False)]


def _square(color: tuple[int, int, int]) -> Markup:
    fill = "rgb({},{},{})".format(*color)
    square = element("rect", width=12, height=12, rx=2, fill=fill)
    return element("svg", square, width=12, height=12, aria_hidden="true")


def _per_class(targets: Sequence[TargetResult]) -> PerClass | None:
    measured = {
        wording.target_name(target): target.metric.per_class
        for target in targets
        if target.metric and target.metric.per_class
    }
    classes = dict.fromkeys(name for values in measured.values() for name in values)
    if not classes:
        return None
    lines = tuple(
        (name, tuple(_value(values, name) for values in measured.values())) for name in classes
    )
    return PerClass(tuple(measured), lines)


def _value(values: dict[str, float], name: str) -> str:
    return wording.share(values[name]) if name in values else wording.NOTHING
