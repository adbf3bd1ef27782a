"""A profile on the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from datac.documents.layer_profile import LayerProfile
from datac.documents.sentences import counted
from datac.report.layer_rows import By, LayerRow, layer_rows


def profile_table(profile: LayerProfile, by: By, top: int) -> RenderableType:
    """The dearest rows, the sum of the others, what cannot be attributed, and the whole."""
    rows = layer_rows(profile, by)
    named = [row for row in rows if row.parts]
    table = Table(by, box=None, pad_edge=False)
    for title in ("ms", "share", "kernels"):
        table.add_column(title, justify="right")
    for row in named[:top]:
        _add(table, row.title, row)
    rest = named[top:]
    if rest:
        together = LayerRow(
            ("rest",),
            sum(row.kernels for row in rest),
            sum(row.median_ms for row in rest),
            sum(row.share for row in rest),
        )
        _add(table, f"{len(rest)} more", together)
    for row in rows:
        if not row.parts:
            _add(table, row.title, row)
    kernels = sum(row.median_ms for row in rows)
    latency = profile.latency_ms
    whole = (
        f"{profile.target} {profile.precision}: {kernels:.3f} ms in "
        f"{counted(len(profile.kernels), 'kernel')}; a whole call without the profile "
        f"takes {latency.median:.3f} ms" + ("" if latency.conclusive else " (inconclusive)")
    )
    return Group(table, Text(), Text(whole))


def _add(table: Table, title: str, row: LayerRow) -> None:
    table.add_row(
        Text(title, overflow="fold"), f"{row.median_ms:.3f}", f"{row.share:.1%}", str(row.kernels)
    )
