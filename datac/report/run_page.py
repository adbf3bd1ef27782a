"""The page of a run: what was found, how clear the choice was, and what was logged on the way."""

from dataclasses import dataclass
from pathlib import Path as FilePath

from markupsafe import Markup

from datac.documents.genotype import Cell, CellKind, Path
from datac.documents.read import read_json
from datac.documents.search_result import NodeDistribution, SearchResult
from datac.documents.sentences import counted
from datac.documents.train_result import TrainResult
from datac.report import html, wording
from datac.report.bounds import bound_verdicts
from datac.report.curves import Metrics, charts, number, read_metrics
from datac.report.draw_cell import draw_cells
from datac.report.figures import STYLE, WIDTH
from datac.report.gap import gap_figure, gap_sentence
from datac.report.svg import drawing, element

RESULT = "search_result.json"
TRAINED = "train_result.json"
METRICS = "metrics.jsonl"
MOST_BARS = 8
"""Paths shown of a node, the most probable ones; more if more were chosen."""
BAR_ROW = 22
NAMES = 170
"""Width of the column of names in px."""


@dataclass(frozen=True)
class Run:
    """What stands in the folder of a search or a training; no result where it is not finished."""

    name: str
    result: SearchResult | None
    metrics: Metrics
    trained: TrainResult | None = None


def is_run(folder: FilePath) -> bool:
    """Whether a search or a training wrote here."""
    return (folder / RESULT).is_file() or (folder / METRICS).is_file()


def read_run(folder: FilePath) -> Run:
    """Read what is there; see `read_metrics` for what a killed run leaves."""
    result, metrics, trained = folder / RESULT, folder / METRICS, folder / TRAINED
    return Run(
        name=folder.resolve().name,
        result=read_json(result, SearchResult) if result.is_file() else None,
        metrics=read_metrics(metrics) if metrics.is_file() else Metrics({}),
        trained=read_json(trained, TrainResult) if trained.is_file() else None,
    )


def render_run(run: Run) -> str:
    """One self-contained HTML page; whatever stands in the documents is text, never markup."""
    result = run.result
    gap = result.gap if result else None
    return html.fill(
        "run.html.j2",
        name=run.name,
        result=result,
        short_hash=wording.short(result.genotype.hash) if result else "",
        sentence=_sentence(run),
        duration=_duration(result.seconds) if result else "",
        final=[(name, number(value)) for name, value in result.metrics.items()] if result else [],
        cells=draw_cells(result.genotype) if result else (),
        choices=_choices(result) if result else [],
        bounds=bound_verdicts(result.bounds or ()) if result else [],
        gap=gap,
        gap_sentence=gap_sentence(gap) if gap else "",
        gap_figure=gap_figure(gap) if gap else "",
        charts=charts(run.metrics),
        unread=run.metrics.unread,
        options=result.options if result else {},
        versions=result.versions if result else {},
    )


def _sentence(run: Run) -> str:
    """The one sentence under the title."""
    result = run.result
    if result is None and run.trained is not None:
        score = run.trained.best
        return (
            f"{counted(run.trained.epochs, 'epoch')} on {run.trained.dataset} in "
            f"{_duration(run.trained.seconds)}; the best, epoch {score.epoch}, reached "
            f"{run.trained.metric} {number(score.metric)} on the validation split."
        )
    if result is None:
        return "This is not finished: these are the curves of what was logged so far."
    epochs = counted(result.epochs, "epoch")
    return f"{epochs} on {result.dataset} in {_duration(result.seconds)}."


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _choices(result: SearchResult) -> list[tuple[str, list[tuple[str, Markup]]]]:
    """(cell, [(heading, bars)]): every node's most probable paths."""
    return [
        (f"{kind} cell", _nodes(result, kind, cell)) for kind, cell in result.genotype.cells.items()
    ]


def _nodes(result: SearchResult, kind: CellKind, cell: Cell) -> list[tuple[str, Markup]]:
    found = []
    numbers = zip(result.space.numbers(), result.distributions[kind], strict=True)
    for (node, distribution), (_, chosen) in zip(numbers, cell.numbered(), strict=False):
        paths = result.space.paths(node)
        bars = _bars(f"{kind} cell, node {node}", paths, distribution, chosen.paths)
        found.append((_heading(node, distribution), bars))
    return found


def _heading(node: int, distribution: NodeDistribution) -> str:
    """How clearly this set of paths won; methods that do not draw cannot say."""
    heading = f"node {node}"
    if distribution.chosen_probability is not None:
        heading += f": the chosen set has probability {number(distribution.chosen_probability)}"
    if distribution.runner_up_probability is not None:
        heading += f", the next best {number(distribution.runner_up_probability)}"
    return heading


def _bars(
    label: str,
    paths: tuple[Path, ...],
    distribution: NodeDistribution,
    chosen: tuple[Path, ...],
) -> Markup:
    """The most probable paths of a node, and `none`; filled where chosen, an outline where not."""
    ranked = sorted(
        zip(distribution.paths, paths, strict=True), key=lambda pair: pair[0], reverse=True
    )
    entries = [
        (f"{path.operation} of {path.input}", probability, path in chosen)
        for place, (probability, path) in enumerate(ranked)
        if place < MOST_BARS or path in chosen
    ]
    entries.append(("none", distribution.none, False))
    largest = max(probability for _, probability, _ in entries) or 1.0
    rows = [
        _probability(BAR_ROW * row, name, probability, probability / largest, taken)
        for row, (name, probability, taken) in enumerate(entries)
    ]
    height = BAR_ROW * len(entries)
    return drawing(WIDTH, height, f"Probabilities of {label}", STYLE, *rows, class_="figure")


def _probability(y: float, name: str, probability: float, share: float, taken: bool) -> Markup:
    width = max(1.0, share * (WIDTH - NAMES - 70))
    return element(
        "g",
        element("title", f"{name}: {probability:.4f}{', chosen' if taken else ''}"),
        element("text", name, x=0, y=y + 15, class_=None if taken else "faint"),
        element(
            "rect",
            x=NAMES,
            y=y + 4,
            width=width,
            height=14,
            rx=2,
            class_="bar" if taken else "outline",
        ),
        element("text", f"{probability:.3f}", x=NAMES + width + 8, y=y + 15, class_="faint"),
    )
