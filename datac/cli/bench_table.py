"""Latencies as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rich.table import Table

from datac.documents.report import Latency


def latency_table(results: Mapping[str, Latency]) -> Table:
    """One row an engine."""
    titles = ("engine", "median ms", "p90", "p99", "spread", "threads", "device", "")
    table = Table(*titles, box=None, pad_edge=False)  # so that it fits into 80 columns
    for name, latency in results.items():
        table.add_row(
            name,
            f"{latency.median:.3f}",
            f"{latency.p90:.3f}",
            f"{latency.p99:.3f}",
            f"{latency.spread:.1%}",
            str(latency.threads or "-"),
            latency.device,
            "" if latency.conclusive else "inconclusive",
        )
    return table


def latencies_as_json(results: Mapping[str, Latency]) -> str:
    """`{"onnx-f32": {"median": ...}}`."""
    return json.dumps({name: latency.model_dump() for name, latency in results.items()}, indent=2)
