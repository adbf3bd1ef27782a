"""The gate: structure, then numbers, then the task; a verdict is data, not an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from compiler.embed import ARGMAX, PREPROCESS
from compiler.lower import OUTPUT
from datac.documents.build_folder import (
    MODEL,
    WEIGHTS,
)
from datac.documents.report import (
    Metric,
    PlacesResult,
    Report,
    TargetResult,
)
from datac.errors import BadInput, PlatformMissing
from exporters.auto import fastest
from exporters.build_folder import (
    read_manifest,
    sha256,
)
from exporters.check_build import judge_check_build, why_unseen, why_wrong
from exporters.class_numbers import judge_classes
from exporters.control import MAX_DROP, compare_with_controls
from exporters.disagreement import why_clear
from exporters.engine_files import ONNX_FILES, PLANS, engine_difference
from exporters.engines import Built, open_engines
from exporters.environment import environment
from exporters.numbers import Numbers, judge_numbers
from exporters.places import TOLERATED
from exporters.reference import Reference
from exporters.saved import overall
from exporters.subject import Subject, open_subject
from exporters.targets import resolve
from exporters.targets.target import BuildOptions, Engine, Runner, TargetFailed
from exporters.task import LabelledInputs, TaskResult, evaluate_runners
from exporters.time_engines import time_engines
from exporters.true_report import contradiction

TORCH_ENGINE = "torch-f32"

Progress = Callable[[str, float], None]


def check(
    folder: Path,
    data: LabelledInputs | None = None,
    *,
    max_drop: float = MAX_DROP,
    trust: bool = False,
    threads: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """The gate on a build: every engine that is there, and the canonical ONNX.

    trust: engines need not be those of the manifest; one whose content is known (an ONNX,
    `model.py`) must still be what the build makes. Writes nothing. Raises BadInput where a file
    that is to be trusted is not the manifest's, and where a build that does not fail has a
    report that contradicts it.
    """
    manifest = read_manifest(folder)
    subject = open_subject(folder, manifest)
    options = BuildOptions(subject.input_shape, threads=threads)
    told_wrong = contradiction(folder, manifest)
    engines = open_engines(folder, manifest, options, trust=trust)
    report = judge(
        subject,
        engines,
        data,
        command=command,
        max_drop=max_drop,
        threads=threads,
        progress=progress,
    )
    if told_wrong is not None and report.verdict != "fail":
        raise BadInput(told_wrong)
    return report


def judge(
    subject: Subject,
    engines: Sequence[Built],
    data: LabelledInputs | TaskResult | None,
    *,
    command: str,
    bench_seconds: float = 0.0,
    max_drop: float = MAX_DROP,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Numbers, task and (with `bench_seconds`) latency of the engines, and the whole report.

    data: to measure on, or what was measured of these engines before. max_drop: of the metric,
    against the control of an engine below float32.
    """
    canonical = judge_canonical(subject, threads)
    with ExitStack() as open_runners:
        judged, runners = _load_and_judge(subject, engines, open_runners)
        task = data if isinstance(data, TaskResult) else TaskResult({})
        if isinstance(data, LabelledInputs):
            eager = _eager_torch(subject, runners, threads, open_runners)
            reference = next(iter(eager), None)
            predicted: dict[str, float] = {}
            if reference and _is_right(eager[reference], subject):
                predicted = {
                    built.name: subject.decision_error(built.plan)
                    for built in judged
                    if built.name in runners
                }
            task = evaluate_runners(
                {**eager, **runners}, data, progress, reference=reference, predicted=predicted
            )
        timed = time_engines(judged, runners, subject, bench_seconds, progress)
    results = tuple(
        _decided(built, task.metrics.get(built.name)).result.model_copy(
            update=timed.get(built.name, {})
        )
        for built in judged
    )
    results = compare_with_controls(results, max_drop, task.reference)
    return report_of(subject, canonical, results, task, command)


def _is_right(runner: Runner, subject: Subject) -> bool:
    """Else an engine would be blamed for decisions that torch itself has wrong."""
    return judge_numbers(runner, subject.reference, None).verdict == "pass"


def _decided(built: Built, metric: Metric | None) -> Built:
    """With the metric, and a verdict on what it decides otherwise than torch."""
    wrong = None if metric is None else why_clear(metric.disagreement, "torch")
    if built.result.precision == "int8":
        wrong = None  # what int8 decides otherwise is no rounding; its drop has a bound of its own
    if wrong is None:
        return built.with_result(metric=metric)
    return _failed(built, wrong).with_result(metric=metric)


def judge_canonical(subject: Subject, threads: int | None = None) -> TargetResult:
    """`model.onnx` itself under ONNX Runtime, at every size of the reference."""
    target = resolve("onnx")
    result = TargetResult(target=MODEL, precision="f32", status="missing")
    missing = target.missing()
    if missing is not None:
        return result.model_copy(update={"reason": str(missing)})
    options = BuildOptions(subject.input_shape, dynamic_height_width=True, threads=threads)
    engine = Engine(MODEL, {}, "cpu", {"dynamic": True})
    built = Built(result, subject.folder, engine, options)
    path = subject.folder / MODEL
    described: dict[str, object] = {"digest": sha256(path), "size_bytes": path.stat().st_size}
    try:
        with target.load(subject.folder, engine, options) as runner:
            numbers = judge_numbers(runner, subject.reference, None)
    except (TargetFailed, BadInput) as error:
        # BadInput: a damaged model may refuse the sizes of the reference.
        failed = {"status": "failed", "verdict": "fail", "reason": str(error)}
        return built.with_result(**described | failed).result
    return built.with_result(status="run", **described, **_judged(numbers)).result


def _load_and_judge(
    subject: Subject, engines: Sequence[Built], stack: ExitStack
) -> tuple[list[Built], dict[str, Runner]]:
    """Load what runs here, judge its numbers, and keep it loaded for task and latency."""
    judged, runners = [], {}
    for built in engines:
        if not built.runs:
            judged.append(built)
            continue
        difference = subject.other_plan(built) or engine_difference(
            built, subject.folder, subject.model_for(built), subject.source
        )
        if difference is not None:
            judged.append(built.with_result(status="failed", verdict="fail", reason=difference))
            continue
        try:
            runner = stack.enter_context(built.load())
            reference = subject.reference_for(built.plan)
            numbers = _judge_outputs(runner, reference, built)
        except (TargetFailed, PlatformMissing) as error:
            # Missing: built, but the device that it was built for does not answer here.
            status = "failed" if isinstance(error, TargetFailed) else "built"
            verdict = "fail" if status == "failed" else None
            judged.append(built.with_result(status=status, verdict=verdict, reason=str(error)))
            continue
        runners[built.name] = runner
        placed = _judge_places(built.with_result(**_judged(numbers)), subject)
        judged.append(_judge_plan(placed, subject))
    return judged, runners


def _judge_outputs(runner: Runner, reference: Reference, built: Built) -> Numbers:
    """Logits by their error; class numbers by the margins that they decide against."""
    cases = reference.fitting(built.sizes)
    if ARGMAX not in built.plan.embed or not cases:
        return judge_numbers(runner, reference, built.sizes, built.plan.precision)
    logits = [case.outputs[OUTPUT] for case in cases]
    return judge_classes(runner, cases, logits, reference.predicted_error[OUTPUT])


def _judge_places(built: Built, subject: Subject) -> Built:
    """Look inside, where an input fits it.

    An engine that is an ONNX file is looked into in any case; a plan, which has to be built once
    more for that, where its outputs are wrong.
    """
    cases = subject.reference.fitting(built.sizes)
    is_wrong_plan = built.result.target in PLANS and built.result.verdict == "fail"
    if not cases or not (built.result.target in ONNX_FILES or is_wrong_plan):
        return built
    model = subject.model_for(built) if is_wrong_plan else None
    graph = subject.deployed(built.plan)
    try:
        if PREPROCESS in built.plan.embed:
            cases = subject.reference_for(built.plan).fitting(built.sizes)
        places = judge_check_build(built, graph, cases[0], subject.unfolded, model)
    except (TargetFailed, BadInput) as error:
        # Exposing may ask for what the target cannot do; the outputs are judged all the same.
        unknown = PlacesResult(judged=0, tolerated=TOLERATED, reason=str(error))
        return built.with_result(places=unknown)
    built, wrong, lost = built.with_result(places=places), why_wrong(places), why_unseen(places)
    if wrong is not None:
        return built.with_result(verdict="fail", reason=_also(built, wrong))
    return built if lost is None else _failed(built, lost)


def _judge_plan(built: Built, subject: Subject) -> Built:
    """Of an engine in int8: whether its ranges fit what the reference reaches."""
    if built.plan.precision != "int8":
        return built
    found = subject.distance(built.plan)
    if found is None:
        unknown = (
            "its ranges were not judged: the reference of this build has no real inputs; "
            "compile the genotype with --data for one that has"
        )
        return built if built.result.reason else built.with_result(reason=unknown)
    unfit = found.why_unfit()
    return built if unfit is None else _failed(built, unfit)


def _failed(built: Built, defect: str) -> Built:
    """With one thing more that is wrong whatever is tolerated."""
    defects = (*built.result.defects, defect)
    return built.with_result(verdict="fail", reason=_also(built, defect), defects=defects)


def _also(built: Built, sentence: str) -> str:
    before = built.result.reason if built.result.verdict == "fail" else None
    return sentence if before is None else f"{before}; {sentence}"


def _eager_torch(
    subject: Subject, runners: Mapping[str, Runner], threads: int | None, stack: ExitStack
) -> dict[str, Runner]:
    """Eager torch on the build's `model.py`, by name; nothing where torch is not here.

    The torch engine itself, where there is one that runs: it is evaluated once.
    """
    if TORCH_ENGINE in runners:
        return {TORCH_ENGINE: runners[TORCH_ENGINE]}
    torch = resolve("torch")
    if torch.missing() is not None:
        return {}
    options = BuildOptions(subject.input_shape, threads=threads)
    try:
        runner = torch.load(subject.folder, Engine(WEIGHTS, {}, "cpu", {"dynamic": True}), options)
    except BadInput:
        return {}  # a foreign model.py, which the verdict on structure names
    return {"torch": stack.enter_context(runner)}


def _judged(numbers: Numbers) -> dict[str, object]:
    return {
        "verdict": numbers.verdict,
        "reason": numbers.reason,
        "defects": (numbers.reason,) if numbers.malformed else (),
        "error": numbers.worst,
        "outputs": numbers.errors,
    }


def report_of(
    subject: Subject,
    canonical: TargetResult | None,
    results: tuple[TargetResult, ...],
    task: TaskResult,
    command: str,
) -> Report:
    """All that was judged of a build, as its document."""
    judged = results if canonical is None else (canonical, *results)
    return Report(
        verdict=overall(subject.structure.verdict, judged),
        name=subject.folder.resolve().name,
        genotype=subject.genotype,
        genotype_hash=subject.genotype.hash,
        weights=subject.weights,
        parameters=subject.parameters,
        multiply_adds=subject.multiply_adds,
        structure=subject.structure,
        canonical=canonical,
        targets=results,
        reference_metric=task.reference,
        fastest=fastest(results),
        masks=task.masks,
        environment=environment(),
        command=command,
    )
