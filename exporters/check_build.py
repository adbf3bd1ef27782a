"""The check build: an engine's own model once more, with the values inside it as outputs.

It is for finding a place, not for use: a value that is an output cannot be fused away, so what
runs here is not quite what is shipped.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from compiler.embed import PREPROCESS
from compiler.graph import Graph
from compiler.lower import CLASSES, IMAGE, INPUT
from compiler.places import boundaries
from datac.documents.build_folder import MODEL
from datac.documents.report import PlaceResult, PlacesResult
from exporters.embedded import to_image
from exporters.engine_files import ONNX_FILES
from exporters.engines import Built
from exporters.expose import expose
from exporters.likely import likely_kind
from exporters.onnx_file import read_onnx
from exporters.places import TOLERATED, PlaceError, Seen, judge_places, unseen
from exporters.reference import Case
from exporters.rounding import ARITHMETIC, Arithmetic
from exporters.targets import resolve
from exporters.targets.specialise import specialise_model, write_model
from exporters.targets.target import Array, Arrays

MOST_WRONG = 20


def judge_check_build(
    built: Built,
    graph: Graph,
    case: Case,
    unfolded: Graph | None = None,
    model: onnx.ModelProto | None = None,
) -> PlacesResult:
    """Run the check build of an engine, and judge what is seen in it.

    graph: as deployed. unfolded: the network's, to tell what the first fault looks like. model:
    what the engine was built from, where it is no ONNX file itself.
    Raises TargetFailed where the target refuses the check build.
    """
    seen = look_inside(built, graph, case, model)
    arithmetic = ARITHMETIC[built.plan.precision]
    errors = judge_places(graph, seen, arithmetic)
    result = _result(graph, seen, errors)
    first = next((error for error in errors if error.ratio > TOLERATED), None)
    if first is None or unfolded is None or built.plan.precision == "int8":
        return result
    kind = likely_kind(unfolded, built.plan, first, seen)
    named = result.wrong[0].model_copy(update={"kind": kind})
    return result.model_copy(update={"wrong": (named, *result.wrong[1:])})


def look_inside(
    built: Built, graph: Graph, case: Case, model: onnx.ModelProto | None = None
) -> Seen:
    """What the check build of an engine computes behind every place, the input with it."""
    assert built.engine is not None
    assert built.options is not None
    if model is None:
        own = read_onnx(built.folder / built.engine.file)
    else:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)  # which is changed, and is what other engines are compared with
        own = specialise_model(copy, built.options, MODEL)
    labels = {name: graph[name].label for name in boundaries(graph)}
    answers = run_model(built, expose(own, labels.values()), {INPUT: case.input})
    seen = {name: answers[label] for name, label in labels.items() if label in answers}
    seen |= {
        name: answers[key]
        for key, name in graph.outputs.items()
        if key in answers and key != CLASSES
    }
    given: dict[str, Array] = {INPUT: case.input}
    if PREPROCESS in built.plan.embed and built.preprocessing is not None:
        given = {IMAGE: to_image(case.input, built.preprocessing)}
    return {**given, **seen}


def run_part(built: Built, model: onnx.ModelProto, inputs: Arrays) -> dict[str, Array]:
    """A part of the engine's model, whose inputs are any values of it."""
    # A part may have no convolution, so it is not asked whether those are in int8.
    assert built.options is not None
    plain = "f32" if built.options.precision == "int8" else built.options.precision
    inner = replace(
        built,
        result=built.result.model_copy(update={"embedded": ()}),
        options=replace(built.options, precision=plain),
    )
    return run_model(inner, model, inputs)


def run_model(built: Built, model: onnx.ModelProto, inputs: Arrays) -> dict[str, Array]:
    """Another model, run as the engine is: the same target, device, threads and precision."""
    assert built.engine is not None
    assert built.options is not None
    with tempfile.TemporaryDirectory(prefix="datac-check-build-") as name:
        folder = Path(name)
        if built.result.target in ONNX_FILES:
            write_model(model, folder / built.engine.file)
        else:
            write_model(model, folder / MODEL)
            built = _built_anew(built, folder / MODEL, folder)
        with built.load_from(folder) as runner:
            return runner.run(inputs)


def _built_anew(built: Built, model: Path, folder: Path) -> Built:
    """A plan of another model, for the same sizes and in the types that stand in it."""
    assert built.options is not None
    engine = resolve(built.result.target).build(model, built.options, folder)
    return replace(built, engine=engine)


def places_result(graph: Graph, seen: Seen, arithmetic: Arithmetic) -> PlacesResult:
    """What is seen of an engine, judged and put into the report's words."""
    return _result(graph, seen, judge_places(graph, seen, arithmetic))


def _result(graph: Graph, seen: Seen, errors: Sequence[PlaceError]) -> PlacesResult:
    wrong = [error for error in errors if error.ratio > TOLERATED]
    worst = max(errors, key=lambda error: error.ratio, default=None)
    return PlacesResult(
        judged=len(errors),
        unseen=tuple(unseen(graph, seen)),
        tolerated=TOLERATED,
        worst=None if worst is None else _document(worst),
        count_wrong=len(wrong),
        wrong=tuple(_document(error) for error in wrong[:MOST_WRONG]),
    )


def _document(error: PlaceError) -> PlaceResult:
    comparable = error.shape and math.isfinite(error.rms)
    return PlaceResult(
        place=error.place,
        rms=error.rms if comparable else None,
        predicted=error.predicted if comparable else 0.0,
    )


def why_wrong(places: PlacesResult) -> str | None:
    """One sentence that names the first place that is wrong; None where none is."""
    if not places.wrong:
        return None
    first, more = places.wrong[0], places.count_wrong - 1
    others = {0: "", 1: ", and one more place is wrong"}.get(
        more, f", and {more} more places are wrong"
    )
    if first.rms is None:
        return f"{first.place} has values that are not finite, or another shape{others}"
    looks = f'; it looks like "{first.kind}"' if first.kind else ""
    strict = f", of which {places.tolerated:.3g} times is tolerated" if places.tolerated < 1 else ""
    return (
        f"{first.place} is off by {first.rms:.3g} (RMS) from what it makes of its own inputs; "
        f"its arithmetic explains {first.predicted:.3g}{strict}{looks}{others}"
    )


def why_unseen(places: PlacesResult) -> str | None:
    """One sentence where a place has no value in an engine's model, which has one for each."""
    return f"{places.unseen[0]} is not in the engine's model" if places.unseen else None
