"""What a run logged, as curves: `metrics.jsonl` in, one chart a group of scalars out."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeGuard

from markupsafe import Markup

from datac.report.figures import WIDTH
from datac.report.svg import drawing, element

HEIGHT = 180
"""Of the plot alone, in px; everything below is in px too."""
LEFT = 52
LEGEND_ROW = 20
MOST_POINTS = 300
MOST_LINES = 8
NOT_A_VALUE = ("step", "epoch")
SPLIT_NAME = re.compile("train|training|val|valid|validation|test|search|w|alpha")
SPLIT = re.compile(f"(?P<split>{SPLIT_NAME.pattern})_(?P<what>.+)")

STYLE = """
.curves { --text: #1f2933; --faint: #66727f; --grid: #dde3e8;
  --line0: #3b77b8; --line1: #c26a1c; --line2: #3d8a5f; --line3: #8a55b0; --line4: #b8443b;
  --line5: #2d8c94; --line6: #8a7417; --line7: #66727f;
  font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; }
@media (prefers-color-scheme: dark) {
  .curves { --text: #e4e9ee; --faint: #94a1ae; --grid: #333b43;
    --line0: #6ea8e5; --line1: #e99a52; --line2: #69bf91; --line3: #be91e0; --line4: #ee857d;
    --line5: #62c3cb; --line6: #cdb44d; --line7: #a9b4be; } }
.curves text { fill: var(--text); }
.curves .faint { fill: var(--faint); }
.curves .end { text-anchor: end; }
.curves .grid { stroke: var(--grid); }
.curves .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
"""

Points = list[tuple[float, float]]
"""(step, value), steps rising."""


@dataclass(frozen=True)
class Metrics:
    """Every scalar that was logged, by name, and how many lines could not be read."""

    curves: dict[str, Points]
    unread: int = 0


def read_metrics(path: Path) -> Metrics:
    """Read JSON lines; a line that was cut off (a killed run) is counted and left out.

    Where a resumed run logged a step again, the later line counts.
    """
    curves: dict[str, dict[float, float]] = {}
    unread = 0
    with path.open("rb") as lines:
        for place, line in enumerate(lines):
            record = _record(line)
            if record is None:
                unread += bool(line.strip())
                continue
            step = record.get("step")
            for name, value in _scalars(record):
                curves.setdefault(name, {})[float(step) if _is_number(step) else place] = value
    return Metrics({name: sorted(values.items()) for name, values in curves.items()}, unread)


def _record(line: bytes) -> dict[str, object] | None:
    """The object on a line, or None where there is none with a usable step."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not _is_number(record.get("step", 0)):
        return None
    return record


def _is_number(value: object) -> TypeGuard[int | float]:
    """Finite, and small enough to draw: JSON allows an integer of hundreds of digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _scalars(record: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of every number; a record inside a record adds its name and a slash."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif name not in NOT_A_VALUE and _is_number(value):
            yield prefix + name, float(value)


def charts(metrics: Metrics) -> list[tuple[str, Markup]]:
    """(title, chart) a group: what belongs together shares a chart, eight lines at most."""
    groups: dict[str, dict[str, Points]] = {}
    for name, points in metrics.curves.items():
        title, label = group_of(name)
        groups.setdefault(title, {})[label] = points
    drawn = []
    for title, lines in groups.items():
        names = list(lines)
        for first in range(0, len(names), MOST_LINES):
            part = {name: lines[name] for name in names[first : first + MOST_LINES]}
            drawn.append((title, chart(title, part)))
    return drawn


def group_of(name: str) -> tuple[str, str]:
    """(chart, line) of a scalar's name.

    `loss/train` and `train_loss` are the train line of the loss chart, `entropy/normal/node2` is
    the node2 line of the entropy/normal chart.
    """
    parts = name.split("/")
    if len(parts) == 1:
        match = SPLIT.fullmatch(name)
        return (match["what"], match["split"]) if match else (name, name)
    if SPLIT_NAME.fullmatch(parts[0]):
        return "/".join(parts[1:]), parts[0]
    return "/".join(parts[:-1]), parts[-1]


def chart(title: str, lines: Mapping[str, Points]) -> Markup:
    """One line a scalar over the steps, with its last value in the legend."""
    axes = Axes.of(list(lines.values()))
    height = HEIGHT + 34 + LEGEND_ROW * len(lines)
    parts = axes.grid()
    for index, (name, points) in enumerate(lines.items()):
        colour = f"stroke: var(--line{index})"
        path = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in thinned(points))
        y = HEIGHT + 38.0 + LEGEND_ROW * index
        parts += [
            element("polyline", points=path, class_="line", style=colour),
            element("line", x1=LEFT, x2=LEFT + 18, y1=y, y2=y, class_="line", style=colour),
            element("text", name[:38], x=LEFT + 26, y=y + 4),
            element("text", number(points[-1][1]), x=WIDTH, y=y + 4, class_="faint end"),
        ]
    return drawing(WIDTH, height, f"{title} over the steps", STYLE, *parts, class_="curves")


def thinned(points: Points) -> Points:
    """At most 300 points: the mean of each stretch; the first and the last stay as they are."""
    if len(points) <= MOST_POINTS:
        return points
    inner, stretch = points[1:-1], math.ceil((len(points) - 2) / (MOST_POINTS - 2))
    pieces = [inner[start : start + stretch] for start in range(0, len(inner), stretch)]
    means = [
        (sum(x for x, _ in piece) / len(piece), sum(y for _, y in piece) / len(piece))
        for piece in pieces
    ]
    return [points[0], *means, points[-1]]


@dataclass(frozen=True)
class Axes:
    """Both axes, linear, with the values at their round ticks."""

    x_range: tuple[float, float]
    y_ticks: tuple[float, ...]

    @classmethod
    def of(cls, lines: Sequence[Points]) -> Self:
        """Wide enough for every point of `lines`."""
        steps = [x for points in lines for x, _ in points]
        values = [y for points in lines for _, y in points]
        return cls((min(steps), max(steps)), ticks(min(values), max(values)))

    def x(self, step: float) -> float:
        """In px."""
        low, high = self.x_range
        part = (step - low) / (high - low) if high > low else 0.5
        return LEFT + part * (WIDTH - LEFT - 6)

    def y(self, value: float) -> float:
        """In px, upwards."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return 8 + (HEIGHT - 8) * (1 - (value - low) / (high - low))

    def grid(self) -> list[Markup]:
        """A line and a number a tick, and the first and the last step below."""
        parts = []
        for tick in self.y_ticks:
            y = self.y(tick)
            parts += [
                element("line", x1=LEFT, x2=WIDTH, y1=y, y2=y, class_="grid"),
                element("text", number(tick), x=LEFT - 8, y=y + 4, class_="faint end"),
            ]
        first, last = (f"{step:,.0f}" for step in self.x_range)
        parts.append(element("text", f"step {first}", x=LEFT, y=HEIGHT + 18, class_="faint"))
        if first != last:
            parts.append(element("text", last, x=WIDTH, y=HEIGHT + 18, class_="faint end"))
        return parts


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Three to six round numbers from at most `low` to at least `high`."""
    # Differences that rounding could have made are no range to draw.
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-200):
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return tuple(step * index for index in range(first, last + 1))


def number(value: float) -> str:
    """Four significant digits at most, short: `0.85`, `1e-5`, `12500`."""
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e")
