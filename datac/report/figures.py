"""The figures of a build: latency per runtime, error per output against its tolerance.

Hand-written SVG 440 px wide, so that it stays legible on a narrow screen; colours follow the
reader's light or dark setting.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from datac.documents.report import Latency, OutputError, TargetResult
from datac.documents.sentences import counted
from datac.report.svg import drawing, element
from datac.report.wording import milliseconds, scientific, target_name

WIDTH = 440
"""Of every figure, in px; everything below is in px too."""
ROW = 46
SHORTEST_BAR = 2
LABEL_CHARACTERS = 34

STYLE = """
.figure { --text: #1f2933; --faint: #66727f; --grid: #dde3e8; --bar: #3b77b8; --line: #1f2933;
  --bad: #b3372f; --zone: #fbeae8; --paper: #ffffff;
  font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; }
@media (prefers-color-scheme: dark) {
  .figure { --text: #e4e9ee; --faint: #94a1ae; --grid: #333b43; --bar: #5b9bdf; --line: #e4e9ee;
    --bad: #ee857d; --zone: #3d2321; --paper: #171b20; } }
.figure text { fill: var(--text); stroke: var(--paper); stroke-width: 4; paint-order: stroke; }
.figure .faint { fill: var(--faint); }
.figure .end { text-anchor: end; }
.figure .middle { text-anchor: middle; }
.figure .bar { fill: var(--bar); }
.figure .doubt { fill: none; stroke: var(--bar); stroke-dasharray: 4 3; }
.figure .outline { fill: none; stroke: var(--bar); stroke-opacity: 0.6; }
.figure .line { stroke: var(--line); stroke-width: 1.5; }
.figure .grid { stroke: var(--grid); }
.figure .zone { fill: var(--zone); }
.figure .limit { stroke: var(--bad); stroke-width: 1.5; }
.figure .hollow { fill: var(--paper); stroke: var(--bar); stroke-width: 1.5; }
.figure .bad { fill: var(--bad); }
.figure .hollow.bad { fill: var(--paper); stroke: var(--bad); }
.figure text.bad { fill: var(--bad); }
"""


def latency_figure(targets: Sequence[TargetResult]) -> Markup | None:
    """A bar to each runtime's median and a whisker to its p90; None where nothing was timed."""
    timed = [(target_name(target), target.latency_ms) for target in targets if target.latency_ms]
    if not timed:
        return None
    longest = max((x for _, latency in timed for x in _finite(latency)), default=1.0) or 1.0
    parts = [_bar(name, latency, longest, ROW * row) for row, (name, latency) in enumerate(timed)]
    label = f"Latency of {counted(len(timed), 'runtime')}"
    return drawing(WIDTH, ROW * len(timed), label, STYLE, *parts, class_="figure")


def _finite(latency: Latency) -> list[float]:
    return [x for x in (latency.median, latency.p90) if math.isfinite(x)]


def _bar(name: str, latency: Latency, longest: float, y: float) -> Markup:
    median, p90 = (
        x / longest * (WIDTH - 12) if math.isfinite(x) else 0.0
        for x in (latency.median, latency.p90)
    )
    numbers = f"{milliseconds(latency.median)} ms, p90 {milliseconds(latency.p90)}"
    if not latency.conclusive:
        numbers += ", inconclusive"
    bar = "bar" if latency.conclusive else "doubt"
    middle = y + 29
    return element(
        "g",
        element("title", f"{name}: {numbers}; p99 {milliseconds(latency.p99)} ms"),
        element("text", _cut(name, LABEL_CHARACTERS), x=0, y=y + 15),
        element("text", numbers, x=WIDTH, y=y + 15, class_="faint end"),
        element(
            "rect", x=1, y=y + 22, width=max(SHORTEST_BAR, median), height=14, rx=2, class_=bar
        ),
        element("line", x1=median, x2=p90, y1=middle, y2=middle, class_="line"),
        element("line", x1=p90, x2=p90, y1=middle - 5, y2=middle + 5, class_="line"),
    )


@dataclass(frozen=True)
class Decades:
    """A logarithmic axis over whole decades, from `low` to `high` as powers of ten."""

    low: int
    high: int

    def x(self, value: float) -> float:
        """In px; zero stands at the left edge, NaN and infinity at the right one."""
        if not math.isfinite(value):
            return float(WIDTH - 8)
        return self.x_of_power(math.log10(value) if value > 0 else self.low)

    def x_of_power(self, power: float) -> float:
        """In px, of 10 to this power."""
        part = (power - self.low) / (self.high - self.low)
        return 8 + (WIDTH - 16) * min(1.0, max(0.0, part))


def error_figure(targets: Sequence[TargetResult]) -> Markup | None:
    """Every output's rms (dot) and largest (ring) error, and the tolerance (line) on the rms.

    None where nothing was compared.
    """
    errors = [
        (target_name(target), error)
        for target in targets
        for error in target.outputs or ((target.error,) if target.error else ())
    ]
    if not errors:
        return None
    axis = _decades([error for _, error in errors])
    bottom = ROW * len(errors)
    parts = _grid(axis, bottom)
    parts += [_error(name, error, axis, ROW * row) for row, (name, error) in enumerate(errors)]
    label = f"Errors of {counted(len(errors), 'output')} against the float64 reference"
    return drawing(WIDTH, bottom + 24, label, STYLE, *parts, class_="figure")


def _decades(errors: Sequence[OutputError]) -> Decades:
    values = [x for error in errors for x in (error.rms, error.max_abs, error.tolerance)]
    powers = [math.log10(x) for x in values if x > 0 and math.isfinite(x)] or [0.0]
    low, high = math.floor(min(powers)), math.ceil(max(powers))
    return Decades(low, max(high, low + 1))


def _grid(axis: Decades, bottom: float) -> list[Markup]:
    step = max(1, math.ceil((axis.high - axis.low) / 8))
    parts = []
    for power in range(axis.low, axis.high + 1, step):
        x = axis.x_of_power(power)
        anchor = "faint middle" if 20 < x < WIDTH - 20 else "faint end" if x > 20 else "faint"
        edge = {"faint": 0.0, "faint end": float(WIDTH)}.get(anchor, x)
        parts += [
            element("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"),
            element("text", f"1e{power}", x=edge, y=bottom + 18, class_=anchor),
        ]
    return parts


def _error(name: str, error: OutputError, axis: Decades, y: float) -> Markup:
    within = error.rms <= error.tolerance
    colour = "" if within else " bad"
    rms, largest, limit = axis.x(error.rms), axis.x(error.max_abs), axis.x(error.tolerance)
    numbers = scientific(error.rms)
    if math.isfinite(error.rms):
        numbers += f" {'≤' if within else '>'} {scientific(error.tolerance)}"
    label = f"{name}, {error.output}" if error.output else name
    middle = y + 30
    return element(
        "g",
        element("title", f"{label}: rms {numbers}, largest {scientific(error.max_abs)}"),
        element("rect", x=limit, y=y + 22, width=WIDTH - limit, height=16, class_="zone"),
        element("line", x1=limit, x2=limit, y1=y + 22, y2=y + 38, class_="limit"),
        element("line", x1=rms, x2=largest, y1=middle, y2=middle, class_="line"),
        element("circle", cx=largest, cy=middle, r=4, class_="hollow" + colour),
        element("circle", cx=rms, cy=middle, r=4.5, class_="bar" + colour),
        element("text", _cut(label, LABEL_CHARACTERS), x=0, y=y + 15),
        element("text", numbers, x=WIDTH, y=y + 15, class_="end" + (colour or " faint")),
    )


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
