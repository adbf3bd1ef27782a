"""What an earlier report of a build says of engines that are still the same files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datac.documents.read import read_json
from datac.documents.report import Masks, Report, TargetResult
from datac.errors import BadInput
from exporters.build_folder import read_manifest
from exporters.check import TORCH_ENGINE
from exporters.engines import Built
from exporters.task import TaskResult
from exporters.true_report import contradiction

REFERENCE = ("torch", TORCH_ENGINE)
"""What a mask of eager torch is called: what others are compared with."""


def measured_before(report: Path, engines: Sequence[Built]) -> TaskResult:
    """Metrics and masks of the engines that are what was measured: file, runtime and device.

    A report that is not there, cannot be read or contradicts its build says nothing.
    """
    if contradiction(report.parent, read_manifest(report.parent)) is not None:
        return TaskResult({})
    try:
        before = read_json(report, Report)
    except BadInput:
        return TaskResult({})
    metrics = {_key(each): each.metric for each in before.targets if each.metric is not None}
    known = {
        built.name: metrics[_key(built.result)]
        for built in engines
        if _key(built.result) in metrics
    }
    if not known:
        return TaskResult({})
    return TaskResult(known, before.reference_metric, _only(before.masks, {*known, *REFERENCE}))


def _key(result: TargetResult) -> tuple[object, ...]:
    """What decides an engine's answers: the file, and what runs it where."""
    return result.target, result.precision, result.digest, result.device, result.version


def _only(masks: Sequence[Masks], names: set[str]) -> tuple[Masks, ...]:
    return tuple(
        mask.model_copy(
            update={"predictions": {k: v for k, v in mask.predictions.items() if k in names}}
        )
        for mask in masks
    )
