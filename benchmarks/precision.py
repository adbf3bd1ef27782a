"""The engines of a build in every precision, as tables: speed, metric, verdict, drop by class.

    datac compile genotype.json --weights child --data CAMVID --target onnx --target openvino \
        --target trt-rtx --precision f32 --precision f16 --precision bf16 --precision int8 \
        --threads 1 --bench-seconds 60
    python benchmarks/precision.py build/report.json

All engines were timed in the same rounds; a ratio is the median of the rounds' ratios, with the
interval that holds it in 95 of 100 measurements.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from datac.documents.read import read_json
from datac.documents.report import Report, TargetResult

NOTHING = "–"


def engines(report: Report) -> list[str]:
    """A row for each engine that is there."""
    lines = [
        "| engine | verdict | ms | times as fast as its control | mIoU | drop | outcome |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(result) for result in report.targets if result.status != "missing"]
    return lines


def _row(result: TargetResult) -> str:
    found, latency, metric = result.comparison, result.latency_ms, result.metric
    ratio = drop = outcome = NOTHING
    if found is not None:
        outcome = found.outcome
        if found.speedup is not None:
            ratio = f"{found.speedup:.2f} ({found.speedup_low:.2f} to {found.speedup_high:.2f})"
        drop = NOTHING if found.drop is None else f"{found.drop:+.4f}"
    verdict = result.verdict if result.status == "run" else f"{result.status}, not run"
    milliseconds = NOTHING if latency is None else f"{latency.median:.2f}"
    value = NOTHING if metric is None else f"{metric.value:.4f}"
    cells = (f"{result.target} {result.precision}", verdict, milliseconds, ratio, value)
    return "| " + " | ".join(map(str, (*cells, drop, outcome))) + " |"


def classes(report: Report) -> list[str]:
    """The control's IoU of each class, and how far each engine falls behind it."""
    compared = [r for r in report.targets if r.comparison and r.comparison.class_drops]
    if not compared:
        return []
    titles = [f"{result.target} {result.precision}" for result in compared]
    lines = [f"| class | IoU in f32 | {' | '.join(titles)} |", "|" + "---|" * (len(titles) + 2)]
    control = next(r for r in report.targets if r.precision == "f32" and r.metric is not None)
    assert control.metric is not None
    for name, value in control.metric.per_class.items():
        drops = [
            f"{r.comparison.class_drops[name]:+.4f}" for r in compared if r.comparison is not None
        ]
        lines.append(f"| {name} | {value:.4f} | {' | '.join(drops)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    report = read_json(parser.parse_args().report, Report)
    print("\n".join([*engines(report), "", *classes(report)]))


if __name__ == "__main__":
    main()
