"""A report's measurements, judged again without a runtime, by a gate of any width."""

from __future__ import annotations

from datac.documents.report import OutputError, PlacesResult, Report, TargetResult, Verdict
from exporters.auto import fastest
from exporters.check_build import why_wrong


def judge_saved(report: Report, width: float = 1.0) -> Report:
    """The report with verdicts by tolerances `width` times those that it states.

    What no tolerance is about stays as it was: structure, what failed to build or to run, values
    that are not finite, decisions that rounding cannot turn.
    """
    canonical = None if report.canonical is None else _judged(report.canonical, width)
    targets = tuple(_judged(target, width) for target in report.targets)
    judged = report.model_copy(update={"canonical": canonical, "targets": targets})
    verdict = overall(report.structure.verdict, judged.results)
    return judged.model_copy(update={"verdict": verdict, "fastest": fastest(targets)})


def overall(structure: Verdict, results: tuple[TargetResult, ...]) -> Verdict:
    """Of a whole report.

    Structure alone says nothing of a runtime's arithmetic, nor does an engine that no input of the
    reference fits: then it is inconclusive.
    """
    if "fail" in (structure, *(result.verdict for result in results)):
        return "fail"
    ran = [result for result in results if result.status == "run"]
    sure = ran and all(result.verdict == "pass" for result in ran)
    return "pass" if sure else "inconclusive"


def _judged(target: TargetResult, width: float) -> TargetResult:
    if target.status != "run" or not target.outputs:
        return target
    outputs = tuple(_widened(error, width) for error in target.outputs)
    worst = max(outputs, key=strain)
    places = None if target.places is None else _places(target.places, width)
    said = list(target.defects)
    if strain(worst) > 1:
        said.append(
            f"output {worst.output} is off by {worst.rms:.3g} (RMS) on input {worst.input}; "
            f"{worst.tolerance:.3g} is tolerated"
        )
    wrong = None if places is None else why_wrong(places)
    said += [] if wrong is None else [wrong]
    changed = {"outputs": outputs, "error": worst, "places": places}
    if bool(said) == (target.verdict == "fail") and width == 1:
        return target.model_copy(update=changed)  # in the words of the gate that measured
    return target.model_copy(
        update=changed | {"verdict": "fail" if said else "pass", "reason": "; ".join(said) or None}
    )


def _widened(error: OutputError, width: float) -> OutputError:
    return error.model_copy(update={"tolerance": error.tolerance * width})


def _places(places: PlacesResult, width: float) -> PlacesResult:
    tolerated = places.tolerated * width
    seen = places.wrong
    # By its place, since the wrong one may know its kind as well.
    if places.worst is not None and places.worst.place not in {p.place for p in seen}:
        seen = (*seen, places.worst)
    wrong = tuple(p for p in seen if p.rms is None or p.rms > tolerated * p.predicted)
    count = places.count_wrong if len(wrong) == len(places.wrong) else len(wrong)
    return places.model_copy(update={"tolerated": tolerated, "wrong": wrong, "count_wrong": count})


def strain(error: OutputError) -> float:
    """Error over tolerance; infinite where nothing is tolerated and something is off."""
    if error.rms == 0:
        return 0.0
    return error.rms / error.tolerance if error.tolerance > 0 else float("inf")
