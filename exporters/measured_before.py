"""What an earlier report of a build says of engines that are still the same files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datac.documents.read import read_json
from datac.documents.report import Masks, Report
from datac.errors import BadInput
from exporters.engines import Built
from exporters.task import TaskResult


def measured_before(report: Path, engines: Sequence[Built]) -> TaskResult:
    """Metrics and masks of the engines whose digest is the one that was measured.

    A report that is not there, or cannot be read, says nothing: it is no part of a build.
    """
    try:
        before = read_json(report, Report)
    except BadInput:
        return TaskResult({})
    metrics = {
        (result.target, result.precision, result.digest): result.metric
        for result in before.targets
        if result.metric is not None
    }
    known = {
        built.name: metrics[key]
        for built in engines
        if (key := (built.result.target, built.result.precision, built.result.digest)) in metrics
    }
    if not known:
        return TaskResult({})
    others = {built.name for built in engines} - known.keys()
    return TaskResult(known, before.reference_metric, _without(before.masks, others))


def _without(masks: Sequence[Masks], engines: set[str]) -> tuple[Masks, ...]:
    return tuple(
        mask.model_copy(
            update={"predictions": {k: v for k, v in mask.predictions.items() if k not in engines}}
        )
        for mask in masks
    )
