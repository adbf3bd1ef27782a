"""An ablation on the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from datac.documents.ablation import AblatedPath, Ablation
from datac.documents.sentences import signed

NAMES = {"miou": "mIoU", "accuracy": "accuracy"}


def ablation_table(found: Ablation) -> RenderableType:
    """One row a path, the most latency saved first; `*` marks the Pareto front."""
    table = Table("without", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = ["saved", "95 %", "outputs change"]
    columns += ["drop"] if found.metric is not None else []
    for title in [*columns, "parameters", "multiply-adds", ""]:
        table.add_column(title, justify="right" if title else "left")
    for path in found.paths:
        table.add_row(*_cells(path, metric=found.metric is not None))
    whole = f"the whole network: {found.latency_ms.median:.3f} ms"
    if found.metric is not None and found.metric_name is not None:
        whole += f", {NAMES[found.metric_name]} {found.metric:.4f}"
    if not found.latency_ms.conclusive:
        whole += " (inconclusive: its spread is too wide)"
    return Group(table, Text(), Text(f"{found.target} {found.precision}, {whole}"))


def _cells(path: AblatedPath, *, metric: bool) -> list[str]:
    cells = [
        path.place,
        path.operation,
        f"{path.saved:z.1%}",
        f"{path.saved_low:z.1%} to {path.saved_high:z.1%}",
        f"{path.output_change:.3f}",
    ]
    if metric:
        cells.append("" if path.drop is None else signed(path.drop, ".4f"))
    saved = (path.parameters_saved, path.multiply_adds_saved)
    return [*cells, *(signed(-count, ",") for count in saved), "*" if path.pareto else ""]
