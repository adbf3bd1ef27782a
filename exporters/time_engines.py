"""The latency of a build's engines: at the network's own size, and at those of their profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from compiler.lower import INPUT
from datac.documents.profile import Profile, Shape
from datac.documents.report import Latency, SizedLatency
from exporters.engines import Built
from exporters.measure import measure
from exporters.subject import Subject
from exporters.targets.target import Runner

Progress = Callable[[str, float], None]


def time_engines(
    engines: Sequence[Built],
    runners: Mapping[str, Runner],
    subject: Subject,
    seconds: float,
    progress: Progress | None = None,
) -> dict[str, dict[str, object]]:
    """Name → the fields of the report that say how long an engine takes.

    At the network's size all are timed side by side, at a size of a profile those that have it;
    every size takes the same share of `seconds`. Only sizes of the reference's inputs are timed.
    """
    if not seconds or not runners:
        return {}
    others = [
        (shape, names)
        for profile, names in _profiles(engines, runners).items()
        for shape in profile.shapes
        if shape != subject.input_shape and subject.reference.of_shape(shape)
    ]
    share = seconds / (1 + len(others))

    def at(shape: Shape, names: Sequence[str]) -> dict[str, Latency]:
        inputs = {INPUT: subject.reference.first(shape).input}
        those = {name: runners[name] for name in names}
        return measure(those, inputs, budget_seconds=share, progress=progress)

    usual = at(subject.input_shape, tuple(runners))
    sized: dict[str, list[SizedLatency]] = {name: [] for name in runners}
    for shape, names in others:
        for name, latency in at(shape, names).items():
            sized[name].append(SizedLatency(shape=shape, latency_ms=latency))
    return {name: {"latency_ms": usual[name], "latency_at": tuple(sized[name])} for name in runners}


def _profiles(engines: Sequence[Built], runners: Mapping[str, Runner]) -> dict[Profile, list[str]]:
    """Profile → the engines that have it."""
    found: dict[Profile, list[str]] = {}
    for built in engines:
        if built.name in runners and built.sizes is not None:
            found.setdefault(built.sizes, []).append(built.name)
    return found
