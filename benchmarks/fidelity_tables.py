"""The tables, in markdown, from finished runs alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fidelity_record import Record
from fidelity_sizes import BASELINE, ROWS
from fidelity_statistics import (
    correlation,
    difference,
    gaps_of,
    mean_absolute_gap,
    mean_and_deviation,
    search_pairs,
)

NOTHING = "–"


def report(records: Iterable[Record]) -> str:
    """All tables of all data sets."""
    parts = []
    everything = list(records)
    for data in dict.fromkeys(record.data for record in everything):
        of_data = [record for record in everything if record.data == data]
        parts += [_of_data(data, of_data)]
    return "\n\n".join(parts) if parts else "no run is finished"


def _of_data(data: str, records: Sequence[Record]) -> str:
    counting = [record for record in records if record.counts]
    return "\n\n".join(
        [
            f"## {data}",
            f"### Retrained: runs whose search decided\n\n{_retrained(counting)}",
            f"### Retrained: all runs, decided or not\n\n{_retrained(records)}",
            f"### The gap, all runs\n\n{_gap(records)}",
            f"### What it costs, all runs\n\n{_costs(records)}",
            f"### Does the search metric predict the retrained one?\n\n{_prediction(records)}",
            f"### Why searches did not decide\n\n{_reasons(records)}",
            _provenance(records),
        ]
    )


def by_row(records: Sequence[Record]) -> dict[str, list[Record]]:
    """In the order of the rows."""
    found = {row: [record for record in records if record.row == row] for row in ROWS}
    return {row: own for row, own in found.items() if own}


def _retrained(records: Sequence[Record]) -> str:
    """Nothing was decided by `random` and by a net made by hand: they always count."""
    rows = by_row(records)
    base = [record.metric for record in rows.get(BASELINE, [])]
    table = []
    for row, own in rows.items():
        metrics = [record.metric for record in own]
        against = None if row == BASELINE else difference(metrics, base)
        table.append(
            [
                row,
                len(own),
                _decided(own),
                _spread(metrics),
                NOTHING if against is None else f"{against.mean:+.4f}",
                NOTHING if against is None else f"{against.low:+.4f} to {against.high:+.4f}",
                NOTHING if against is None else against.finding,
            ]
        )
    metric = records[0].trained.metric if records else "metric"
    head = ["row", "runs", "decided", metric, "- random", "95 % interval", "finding"]
    return _table(head, table)


def _decided(records: Sequence[Record]) -> str:
    judged = [r.searched.decided for r in records if r.searched and r.searched.decided is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else NOTHING


def _gap(records: Sequence[Record]) -> str:
    table = []
    for row, own in by_row(records).items():
        found = [r.searched.gap for r in own if r.searched and r.searched.gap]
        if not found:
            continue
        gaps = gaps_of(own)
        parts = {
            name: _mean([gap.parts[name] for gap in found if not gap.at_chance])
            for name in ("derivation", "form", "statistics")
        }
        table.append(
            [
                row,
                f"{len(gaps)} of {len(found)}",
                _mean([gap.supernet for gap in found]),
                _mean([gap.spread for gap in found]),
                *(
                    _mean([getattr(g, n) for g in found])
                    for n in ("derived", "recomputed", "child")
                ),
                _spread(gaps, "+.4f"),
                *parts.values(),
            ]
        )
    head = ["row", "above chance", "sampled", "over draws ±", "derived", "recomputed", "child"]
    text = _table([*head, "gap", "derivation", "form", "statistics"], table)
    return f"{text}\n\n{gap_sentence(records)}"


def gap_sentence(records: Sequence[Record]) -> str:
    """The claim of the paper, as a ratio."""
    rows = by_row(records)
    ours, theirs = (mean_absolute_gap(rows.get(row, [])) for row in ("data-m4", "darts"))
    if ours is None or not theirs:
        missing = "data-m4" if ours is None else "darts"
        return f"No ratio of gaps: no supernet of {missing} is above chance."
    return (
        f"Mean absolute gap: data-m4 {ours:.4f}, darts {theirs:.4f}, ratio {ours / theirs:.2f} "
        "(runs whose supernet is above chance)."
    )


def _costs(records: Sequence[Record]) -> str:
    table = []
    for row, own in by_row(records).items():
        nets = [record.trained for record in own]
        searches = [record.searched.seconds for record in own if record.searched]
        widths = sorted({net.channels for net in nets if net.channels is not None})
        table.append(
            [
                row,
                f"{widths[0]} to {widths[-1]}" if widths else NOTHING,
                _mean([net.parameters / 1e3 for net in nets], ".0f"),
                _spread([net.multiply_adds / 1e6 for net in nets], ".1f"),
                _mean([net.latency_ms for net in nets], ".2f"),
                _spread([net.latency_ms / net.reference_ms for net in nets], ".2f"),
                _mean(searches, ".0f"),
                _mean([net.seconds for net in nets], ".0f"),
            ]
        )
    head = ["row", "C", "parameters, k", "multiply-adds, M", "latency, ms", "of data-m4's"]
    return _table([*head, "search, s", "training, s"], table)


def _prediction(records: Sequence[Record]) -> str:
    """Kendall's tau over all runs that have both metrics, and within rows that have enough."""
    table = []
    for name, own in {"all runs": records, **by_row(records)}.items():
        cells: list[Any] = [name]
        for which in ("derived", "sampled"):
            pairs = search_pairs(own, which)
            found = correlation(pairs)
            cells += (
                [NOTHING, NOTHING] if found is None else [f"{found.tau:+.2f}", f"{found.p:.3f}"]
            )
        if cells[1:] != [NOTHING] * 4:
            table.append([*cells[:1], len(search_pairs(own, "derived")), *cells[1:]])
    return _table(["runs", "pairs", "tau, derived", "p", "tau, sampled", "p"], table)


def _reasons(records: Sequence[Record]) -> str:
    """Criterion by criterion, how many searches it stands against."""
    kinds = {
        "no farther than chance": "where chance alone",
        "one step changes the choice": "one step can change",
        "the choice of the last epoch alone": "alone, the last",
        "collapse into skips and pools": "a collapse",
    }
    table = []
    for row, own in by_row(records).items():
        judged = [r.searched.reasons for r in own if r.searched and r.searched.decided is not None]
        if judged:
            against = [sum(any(text in r for r in rs) for rs in judged) for text in kinds.values()]
            table.append([row, len(judged), *against])
    return _table(["row", "searches", *kinds], table)


def _provenance(records: Sequence[Record]) -> str:
    def of(values: Iterable[str | None]) -> str:
        return ", ".join(sorted({value or "unknown" for value in values}))

    torch = of(record.versions.get("torch") for record in records)
    data = of(record.dataset_digest[:12] for record in records)
    return (
        f"Commits {of(r.commit for r in records)}; {of(r.device for r in records)}; torch {torch}; "
        f"data {data}; {of(r.finished for r in records)}."
    )


# ---- cells -------------------------------------------------------------------------------------


def _mean(values: Sequence[float], form: str = ".4f") -> str:
    return f"{statistics.fmean(values):{form}}" if values else NOTHING


def _spread(values: Sequence[float], form: str = ".4f") -> str:
    if not values:
        return NOTHING
    mean, deviation = mean_and_deviation(values)
    plain = form.lstrip("+")
    return f"{mean:{form}}" + ("" if deviation is None else f" ± {deviation:{plain}}")


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def summary_of(records: Mapping[Any, Record]) -> dict[str, Any]:
    """For `--json`: the runs, as they are."""
    return {
        "runs": [record.model_dump(mode="json", exclude_none=True) for record in records.values()]
    }
