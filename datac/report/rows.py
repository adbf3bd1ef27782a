"""The table of targets, one row of text a target, for the page and for the terminal."""

from dataclasses import dataclass
from typing import Self

from datac.documents.environment import Environment
from datac.documents.report import Report, TargetResult
from datac.report import wording
from datac.report.wording import NOTHING


@dataclass(frozen=True)
class Row:
    """One target in one precision; every text is what a reader sees."""

    target: str
    precision: str
    kind: str
    status: str
    verdict: str
    rms: str
    max_abs: str
    tolerance: str
    metric: str
    agreement: str
    median: str
    p90: str
    p99: str
    doubt: bool
    digest: str
    full_digest: str
    made: str
    compared: str
    at_sizes: str

    @classmethod
    def of(cls, target: TargetResult, here: Environment) -> Self:
        """What was not measured is a dash."""
        error, metric, latency = target.error, target.metric, target.latency_ms
        return cls(
            target=target.target,
            precision=target.precision,
            kind=target.status,
            status=wording.status(target),
            verdict=target.verdict or NOTHING,
            rms=wording.scientific(error.rms) if error else NOTHING,
            max_abs=wording.scientific(error.max_abs) if error else NOTHING,
            tolerance=wording.scientific(error.tolerance) if error else NOTHING,
            metric=wording.share(metric.value) if metric else NOTHING,
            agreement=_agreement(target),
            median=wording.milliseconds(latency.median) if latency else NOTHING,
            p90=wording.milliseconds(latency.p90) if latency else NOTHING,
            p99=wording.milliseconds(latency.p99) if latency else NOTHING,
            doubt=latency is not None and not latency.conclusive,
            digest=wording.short(target.digest or "") or NOTHING,
            full_digest=target.digest or "",
            made=_made(target, here),
            compared=wording.comparison(target) or "",
            at_sizes=wording.at_sizes(target) or "",
        )

    @property
    def bare(self) -> bool:
        """Whether there is nothing to say but the status."""
        facts = (self.verdict, self.rms, self.metric, self.median, self.digest)
        return all(fact == NOTHING for fact in facts)


def rows(report: Report) -> tuple[Row, ...]:
    """`model.onnx` itself, then the targets in the order of the report."""
    return tuple(Row.of(result, report.environment) for result in report.results)


def metric_title(report: Report) -> str:
    """The heading of the task's column: `mIoU`, `accuracy`, or `metric` where none was taken."""
    names = {target.metric.name for target in report.targets if target.metric}
    titles = {"miou": "mIoU", "accuracy": "accuracy"}
    return titles[names.pop()] if len(names) == 1 else "metric"


def _agreement(target: TargetResult) -> str:
    if target.metric is None or target.metric.agreement is None:
        return ""
    percent = f"{100 * target.metric.agreement:.2f}"
    # A handful of pixels that differ must not be rounded away.
    if percent == "100.00" and target.metric.agreement < 1:
        percent = "> 99.99"
    return f"{percent} % equal"


def _made(target: TargetResult, here: Environment) -> str:
    """Version, device, size and build time in one line, as far as they are known."""
    known = [
        target.version,
        target.device,
        None if target.size_bytes is None else wording.size(target.size_bytes),
        None if target.build_seconds is None else f"built in {target.build_seconds:.1f} s",
        wording.rewrites(target),
        wording.tuning(target, here),
        wording.predicted(target),
    ]
    return ", ".join(fact for fact in known if fact)
