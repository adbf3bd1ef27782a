"""Searches under a latency bound: what was asked, predicted and measured, as a table and a figure.

    python benchmarks/latency_bounds.py a b c --figure bounds.svg

Each folder is one where these were run, `datac compile` with nothing else of interest in the build:

    datac search --data CAMVID --max-latency-ms 0.9 --table table.json
    datac compile genotype.json --target onnx --table table.json --threads 1
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout that this file stands in, whatever is installed

from datac.documents.read import read_json
from datac.documents.report import Report
from datac.documents.search_result import SearchResult
from datac.report.figures import STYLE, WIDTH
from datac.report.svg import drawing, element

ROW = 44
"""Of the figure, in px."""


@dataclass(frozen=True)
class Outcome:
    """Milliseconds. child: with the table's error added, which is what the bound is on."""

    bound: float
    child: float
    draw: float
    predicted: float
    measured: float


def outcome_of(folder: Path) -> Outcome:
    """Of one search and the build of what it found."""
    result = read_json(folder / "run/search_result.json", SearchResult)
    bound = next(bound for bound in result.bounds if bound.quantity == "latency_ms")
    report = read_json(folder / "build/report.json", Report)
    target = next(target for target in report.targets if target.predicted_ms is not None)
    assert target.predicted_ms is not None
    assert target.latency_ms is not None
    return Outcome(
        bound.bound, bound.child, bound.expected, target.predicted_ms, target.latency_ms.median
    )


def print_table(outcomes: list[Outcome]) -> None:
    """Markdown, one line a search."""
    print("| bound, ms | child, error added | mean draw | predicted | measured | held |")
    print("|---|---|---|---|---|---|")
    for each in outcomes:
        held = "yes" if each.measured <= each.bound else "**no**"
        print(
            f"| {each.bound:.2f} | {each.child:.3f} | {each.draw:.3f} | {each.predicted:.3f} "
            f"| {each.measured:.3f} ({each.measured / each.predicted - 1:+.1%}) | {held} |"
        )


def figure(outcomes: list[Outcome]) -> str:
    """A bar to each measured latency, a ring where it was predicted, a line at the bound."""
    longest = max(max(each.bound, each.measured) for each in outcomes)

    def x(milliseconds: float) -> float:
        return 8 + milliseconds / longest * (WIDTH - 16)

    parts = []
    for row, each in enumerate(outcomes):
        y = ROW * row
        words = f"at most {each.bound:.2f} ms: measured {each.measured:.3f}"
        said = f"predicted {each.predicted:.3f}"
        parts += [
            element("text", words, x=8, y=y + 14),
            element("text", said, x=WIDTH - 8, y=y + 14, class_="faint end"),
            element(
                "rect", x=8, y=y + 21, width=x(each.measured) - 8, height=14, rx=2, class_="bar"
            ),
            element("circle", cx=x(each.predicted), cy=y + 28, r=5, class_="hollow"),
            element(
                "line", x1=x(each.bound), x2=x(each.bound), y1=y + 18, y2=y + 38, class_="limit"
            ),
        ]
    label = f"Latency of {len(outcomes)} searched networks and their bounds"
    return str(drawing(WIDTH, ROW * len(outcomes), label, STYLE, *parts, class_="figure"))


def main() -> None:
    """Print the table, write the figure where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    outcomes = sorted(map(outcome_of, arguments.folders), key=lambda each: each.bound)
    print_table(outcomes)
    if arguments.figure is not None:
        arguments.figure.write_text(figure(outcomes) + "\n")


if __name__ == "__main__":
    main()
