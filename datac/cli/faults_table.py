"""How often each judge was right, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from exporters.faults.judges import Score


def score_table(scores: Mapping[tuple[str, str], Score]) -> Table:
    """A row for each precision and judge. What a judge never does is left empty."""
    from exporters.faults.judges import OURS

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("precision", "judge"):
        table.add_column(title)
    for title in ("caught", "false alarms", "right path", "right node"):
        table.add_column(title, justify="right")
    order = {judge: index for index, judge in enumerate(OURS)}
    for precision in dict.fromkeys(precision for precision, _ in scores):
        rows = [(j, s) for (p, j), s in scores.items() if p == precision]
        for judge, score in sorted(rows, key=lambda row: order.get(row[0], len(order))):
            named = judge in order and judge != "outputs"
            table.add_row(
                precision,
                judge,
                f"{score.caught} / {score.injected}",
                f"{score.false_alarms} / {score.healthy}",
                f"{score.right_path} / {score.paths}" if named else "",
                f"{score.right_node} / {score.paths}" if named else "",
            )
    return table
