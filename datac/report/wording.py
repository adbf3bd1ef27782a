"""A report's facts as words and numbers, the same on the page and on the terminal."""

import math

from datac.documents.build_folder import MODEL
from datac.documents.environment import Environment
from datac.documents.report import Report, TargetResult
from datac.documents.sentences import counted

NOTHING = "–"
"""Stands where a quantity was not measured."""


def target_name(target: TargetResult) -> str:
    """As in the build folder, e.g. `onnx f32`; the canonical ONNX has one precision for good."""
    if target.target == MODEL:
        return MODEL
    return f"{target.target} {target.precision}"


def status(target: TargetResult) -> str:
    """What became of a target, in words, with the reason where there is one."""
    if target.status == "run":
        return "run" if target.reason is None else f"run: {target.reason}"
    if target.status == "built":
        return "built, not run" if target.reason is None else f"built, not run: {target.reason}"
    return f"{target.status}: {target.reason or 'no reason was given'}"


def reason(report: Report) -> str:
    """The one sentence under the verdict."""
    if report.verdict == "fail":
        return _why_it_fails(report)
    ran = [target for target in report.results if target.status == "run"]
    if not ran:
        sentence = "Nothing ran here, so no numbers were compared"
    elif report.verdict == "inconclusive":
        unsure = [target for target in ran if target.verdict == "inconclusive"]
        names = _join([target_name(target) for target in unsure]) or "The measurement"
        sentence = f"{names} gave no clear answer"
        if unsure and unsure[0].reason:
            sentence += f": {unsure[0].reason.rstrip('.')}"
    else:
        names = _join([target_name(target) for target in ran])
        sentence = f"{names} {'agrees' if len(ran) == 1 else 'agree'} with the float64 reference"
    return f"{sentence}{_structure(report)}{_not_run(report)}."


def comparison(target: TargetResult) -> str | None:
    """How an engine in lower precision stands against its control; None where nobody asked."""
    found = target.comparison
    if found is None:
        return None
    parts = []
    if found.speedup is not None and found.speedup_low is not None and found.speedup_high:
        between = f"{found.speedup_low:.2f} to {found.speedup_high:.2f}"
        times = f"{found.speedup:.2f} times as fast as {found.control} ({between})"
        parts.append(times if found.speedup_low > 1 else f"not faster: {times}")
    if found.drop is not None:
        way = "below" if found.drop > 0 else "above"
        parts.append(f"its metric {abs(found.drop):.4f} {way} that of {found.control}")
    return ", ".join(parts)


def fastest(report: Report) -> str | None:
    """Which engine to ship for its speed, where that was measured."""
    found = report.fastest
    if found is None:
        return None
    sentence = (
        f"The fastest engine that passes is {found.engine}, {milliseconds(found.median_ms)} ms"
    )
    if found.engine != found.than:
        between = f"{found.speedup_low:.2f} to {found.speedup_high:.2f}"
        sentence += f": {found.speedup:.2f} times ({between}) as fast as {found.than}"
    both = found.metric is not None and found.than_metric is not None
    if both and found.engine != found.than:
        sentence += f", metric {found.metric:.4f} where that has {found.than_metric:.4f}"
    return f"{sentence}."


def rewrites(target: TargetResult) -> str | None:
    """How its own model was rewritten, and how exact that is; None where it was not."""
    if not target.rewrites:
        return None
    names = _join([rewrite.name for rewrite in target.rewrites])
    proofs = [r.max_relative for r in target.rewrites if r.max_relative is not None]
    return f"rewritten by {names}" + (
        f", proved to {scientific(max(proofs))} in float64" if proofs else ""
    )


def tuning(target: TargetResult, here: Environment) -> str | None:
    """What its plan was measured to gain, and where if not here; None where it was not tuned."""
    if target.tuning is None:
        return None
    kept = [
        f"{decision.option} ({decision.ratio:.3f})"
        for decision in target.tuning.decisions
        if decision.kept and decision.ratio is not None
    ]
    tried = sum(decision.ratio is not None for decision in target.tuning.decisions)
    there = target.tuning.environment.processor
    elsewhere = "" if there == here.processor else f"; measured on {there}, not on {here.processor}"
    if not kept:
        found = f"of {counted(tried, 'thing')} tried none made it faster beyond the noise"
    else:
        found = f"{_join(kept)} kept of {tried} tried, each with its share of the time before"
    return f"tuned: {found}{elsewhere}"


def predicted(target: TargetResult) -> str | None:
    """What a latency table said, beside what came out; None where none was given."""
    if target.predicted_ms is None:
        return None
    said = f"the latency table predicts {milliseconds(target.predicted_ms)} ms"
    if target.latency_ms is None:
        return said
    off = target.predicted_ms / target.latency_ms.median - 1
    return f"{said}, measured {milliseconds(target.latency_ms.median)} ({off:+.1%})"


def at_sizes(target: TargetResult) -> str | None:
    """The latencies at the sizes of its profile; None where it has none."""
    if not target.latency_at:
        return None
    times = [
        f"{'x'.join(map(str, sized.shape))} {milliseconds(sized.latency_ms.median)} ms"
        + ("" if sized.latency_ms.conclusive else " (inconclusive)")
        for sized in target.latency_at
    ]
    return f"at other sizes of its profile: {', '.join(times)}"


def reference(report: Report) -> str | None:
    """What every agreement in the table is with, where a metric was taken."""
    metric = report.reference_metric
    if metric is None:
        return None
    name = {"miou": "mIoU", "accuracy": "accuracy"}[metric.name]
    return (
        f"Agreement is with eager torch on model.py, whose {name} on the same "
        f"{counted(metric.samples, 'sample')} is {share(metric.value)}."
    )


def _why_it_fails(report: Report) -> str:
    structure = report.structure
    if structure.verdict == "fail":
        first = structure.differences[0] if structure.differences else _paths(report)
        return f"The network is not the genotype's: {first.rstrip('.')}."
    for target in report.results:
        if target.verdict == "fail" or target.status == "failed":
            return f"{target_name(target)}: {_failure(target).rstrip('.')}."
    return "The gate failed; the table says where."


def _failure(target: TargetResult) -> str:
    if target.reason:
        return target.reason
    if target.error is None:
        return "the build or the run broke"
    error = target.error
    where = f" at output {error.output}" if error.output else ""
    return (
        f"the rms error {scientific(error.rms)}{where} is not within the tolerance "
        f"{scientific(error.tolerance)}"
    )


def _structure(report: Report) -> str:
    if report.structure.verdict != "pass":
        return ""
    paths = counted(report.structure.paths_expected, "path")
    return f", and the ONNX holds exactly the genotype's {paths}"


def _paths(report: Report) -> str:
    found, expected = report.structure.paths_found, report.structure.paths_expected
    return f"{found} of {expected} paths were found"


def _not_run(report: Report) -> str:
    words = {"missing": "missing", "built": "built but not run", "failed": "failed"}
    others = [
        f"{target_name(target)} is {words[target.status]}"
        if target.status != "failed"
        else f"{target_name(target)} failed"
        for target in report.targets
        if target.status != "run"
    ]
    return f"; {_join(others)}" if others else ""


def _join(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def scientific(value: float) -> str:
    """Two digits: `3.2e-7`, `0`, `not a number`, `infinite`."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if value == 0:
        return "0"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}"


def milliseconds(value: float) -> str:
    """Three significant digits, without the unit: `0.0123`, `12.3`, `1230`."""
    if not 1e-6 <= abs(value) < 1e9:
        return scientific(value)
    rounded = float(f"{value:.2e}")
    places = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(0, places)}f}"


def count(value: int) -> str:
    """A large number in short: `3.44 M`, `519 M`, `12,345`."""
    for size, letter in ((10**9, "G"), (10**6, "M")):
        if abs(value) >= size:
            return f"{milliseconds(value / size)} {letter}"
    return f"{value:,}"


def share(value: float) -> str:
    """A value in 0..1 to four places."""
    return f"{value:.4f}" if math.isfinite(value) else scientific(value)


def size(size_bytes: int) -> str:
    """In the unit that leaves a short number."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if size_bytes >= 1000**power:
            return f"{milliseconds(size_bytes / 1000**power)} {unit}"
    return f"{size_bytes} B"


def short(digest: str) -> str:
    """Twelve characters of a SHA-256: enough to compare by eye."""
    return digest[:12]
