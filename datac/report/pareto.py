"""The figure of an ablation: latency saved against what it costs, the Pareto front marked."""

from __future__ import annotations

from markupsafe import Markup

from datac.documents.ablation import AblatedPath, Ablation
from datac.documents.sentences import counted
from datac.report.figures import STYLE
from datac.report.svg import drawing, element

WIDTH, HEIGHT = 640, 420
"""In px, as everything below."""
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 40
LINES = 5


def pareto_figure(found: Ablation) -> Markup:
    """A dot to each path, a whisker to the interval of its saving; filled on the front."""
    axes = _Axes(found)
    parts = [*axes.grid(found.metric is not None)]
    for path in found.paths:
        parts += _path(path, axes)
    label = f"Latency saved and price of {counted(len(found.paths), 'path')}"
    return drawing(WIDTH, HEIGHT, label, STYLE, *parts, class_="figure")


class _Axes:
    def __init__(self, found: Ablation) -> None:
        prices = [path.price for path in found.paths]
        savings = [x for path in found.paths for x in (path.saved_low, path.saved_high)]
        self._x = _span(savings)
        self._y = _span(prices)

    def x(self, saved: float) -> float:
        """In px, of a share of the latency."""
        low, high = self._x
        return LEFT + (saved - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, cost: float) -> float:
        """In px; the cheapest is at the bottom."""
        low, high = self._y
        return HEIGHT - BOTTOM - (cost - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def grid(self, has_metric: bool) -> list[Markup]:
        """Lines, numbers, and what the axes are."""
        parts = []
        for index in range(LINES):
            share = index / (LINES - 1)
            saved, cost = (low + share * (high - low) for low, high in (self._x, self._y))
            x, y = self.x(saved), self.y(cost)
            parts += [
                element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"),
                element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"),
                element("text", f"{saved:.1%}", x=x, y=HEIGHT - BOTTOM + 16, class_="faint middle"),
                element("text", f"{cost:.3g}", x=LEFT - 6, y=y + 4, class_="faint end"),
            ]
        what = "metric lost" if has_metric else "change of the outputs"
        return [
            *parts,
            element("text", "latency saved", x=WIDTH - RIGHT, y=HEIGHT - 6, class_="end"),
            element("text", what, x=LEFT + 6, y=TOP + 12),
        ]


def _span(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def _path(path: AblatedPath, axes: _Axes) -> list[Markup]:
    x, y = axes.x(path.saved), axes.y(path.price)
    left, right = axes.x(path.saved_low), axes.x(path.saved_high)
    title = f"{path.place} {path.operation}: saves {path.saved:.1%}, costs {path.price:.3g}"
    parts = [
        element("line", x1=left, x2=right, y1=y, y2=y, class_="line"),
        element(
            "circle",
            element("title", title),
            cx=x,
            cy=y,
            r=5,
            class_="bar" if path.pareto else "hollow",
        ),
    ]
    if path.pareto:
        end = x > WIDTH / 2
        label = f"{path.place} {path.operation}"
        at = x - 9 if end else x + 9
        parts.append(element("text", label, x=at, y=y - 8, class_="end" if end else None))
    return parts
