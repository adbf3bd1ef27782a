"""Which measures are an alarm, and how often the judges are right: alone, and together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporters.faults.observe import RULES, Observation

MARGIN = 1.25
"""Times the largest ratio of any healthy run that the constants are set on."""

OURS = ("structure", "outputs", "places", "nodes alone", "fused engine", "numbers", "together")
"""numbers: outputs or places. together: structure or numbers, named by the place that is wrong."""


@dataclass(frozen=True)
class Constants:
    """By precision: the ratio of an output, and of a place, above which there is an alarm."""

    output: Mapping[str, float]
    place: Mapping[str, float]


@dataclass(frozen=True)
class Opinion:
    """Of one judge on one run. place: what it names, if it names anything."""

    alarm: bool
    place: str | None = None


def constants_of(healthy: Iterable[Observation]) -> Constants:
    """MARGIN times the largest that healthy runs show."""
    output: dict[str, float] = defaultdict(float)
    place: dict[str, float] = defaultdict(float)
    for seen in healthy:
        found = [ratio for _, ratio in (*seen.places, *seen.nodes, *(seen.fused or ()))]
        place[seen.precision] = max([place[seen.precision], *found])
        output[seen.precision] = max(output[seen.precision], seen.output or 0.0)
    return Constants(
        {key: MARGIN * value for key, value in output.items()},
        {key: MARGIN * value for key, value in place.items()},
    )


def opinions(seen: Observation, constants: Constants) -> dict[str, Opinion]:
    """Judge → its opinion; rules of other tools by their names."""
    limit = constants.place[seen.precision]
    outputs = Opinion(seen.output is None or seen.output > constants.output[seen.precision])
    structure = Opinion(bool(seen.structure), seen.structure[0] if seen.structure else None)
    places, nodes = _first(seen.places, limit), _first(seen.nodes, limit)
    numbers = Opinion(outputs.alarm or places.alarm, places.place)
    together = Opinion(structure.alarm or numbers.alarm, numbers.place or structure.place)
    ours = {
        "structure": structure,
        "outputs": outputs,
        "places": places,
        "nodes alone": nodes,
        "numbers": numbers,
        "together": together,
    }
    if seen.fused is not None:
        ours["fused engine"] = _first(seen.fused, limit)
    return ours | {rule: Opinion(rule in seen.others) for rule in RULES}


def _first(ratios: Sequence[tuple[str, float]], limit: float) -> Opinion:
    place = next((place for place, ratio in ratios if ratio > limit), None)
    return Opinion(place is not None, place)


# ---- how often a judge is right -----------------------------------------------------------------


@dataclass
class Score:
    """One judge in one precision.

    paths: caught faults whose place is a path or a node of a cell; right_path: the place named is
    that one; right_node: its node is.
    """

    injected: int = 0
    caught: int = 0
    healthy: int = 0
    false_alarms: int = 0
    paths: int = 0
    right_path: int = 0
    right_node: int = 0


def scores(
    observations: Iterable[Observation], constants: Constants
) -> dict[tuple[str, str], Score]:
    """(precision, judge) → its score. Faults that do not change the function are left out."""
    found: dict[tuple[str, str], Score] = defaultdict(Score)
    for seen in observations:
        if seen.fault is not None and not changes(seen):
            continue
        for judge, opinion in opinions(seen, constants).items():
            _count(found[seen.precision, judge], seen, opinion)
    return dict(found)


SMALLEST_CHANGE = 1e-13
"""Relative, in float64: what is below is the function itself."""


def changes(seen: Observation) -> bool:
    """Whether the fault of a run changes the function at all."""
    return not seen.change <= SMALLEST_CHANGE  # NaN is a change


def _count(score: Score, seen: Observation, opinion: Opinion) -> None:
    if seen.fault is None:
        score.healthy += 1
        score.false_alarms += opinion.alarm
        return
    score.injected += 1
    score.caught += opinion.alarm
    if opinion.alarm and seen.place is not None and "/node" in seen.place:
        score.paths += 1
        score.right_path += same_place(opinion.place, seen.place)
        score.right_node += node_of(opinion.place) == node_of(seen.place)


def same_place(named: str | None, right: str) -> bool:
    """`cell0/node2/path1` names `cell0/node2/path1/sep_conv_3x3`.

    Of a fault of a node, whichever of its paths is named: a path too many is one of them.
    """
    if named is None:
        return False
    depth = min(right.count("/") + 1, 3)
    return named.split("/")[:depth] == right.split("/")[:depth]


def node_of(place: str | None) -> str | None:
    """`cell0/node2/path1/sep_conv_3x3` → `cell0/node2`."""
    return None if place is None else "/".join(place.split("/")[:2])
