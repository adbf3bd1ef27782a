"""The gate, tried on one network: every fault once, every healthy way to run it once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

import numpy as np

from exporters import places, reference
from exporters.faults import FAULTS
from exporters.faults.fault import inject
from exporters.faults.judges import Constants
from exporters.faults.observe import Observation, Subject
from exporters.faults.runtimes import HEALTHY, MAIN
from exporters.targets.target import TargetFailed

SHIPPED = Constants(dict.fromkeys(MAIN, reference.TOLERATED), dict.fromkeys(MAIN, places.TOLERATED))
"""What `datac check` judges by."""


def try_gate(
    subject: Subject,
    precisions: Collection[str],
    *,
    faults: Collection[str] = tuple(FAULTS),
    ways: Collection[str] | None = None,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[Observation]:
    """Healthy runs first, in all ways or these, then each fault in each precision.

    Ways to run that this machine has not are left out, and a damage for which no engine could be
    built: a weight that float16 cannot hold. A fault's place is drawn from the seed and depends on
    the precisions, not on which of the other faults are tried.
    """
    here = {name: way for name, way in HEALTHY.items() if way.missing() is None}
    healthy = [
        name
        for name, way in here.items()
        if way.precision in precisions and name in (here if ways is None else ways)
    ]
    harmful = [
        (MAIN[precision], name)
        for precision in MAIN
        if precision in precisions and MAIN[precision] in here
        for name in FAULTS
        if precision in FAULTS[name].precisions
    ]
    if not faults:
        harmful = []
    draw, done = np.random.default_rng(seed), 0
    total = len(healthy) + sum(name in faults for _, name in harmful)

    def tell(what: str) -> None:
        if progress is not None:
            progress(what, done / total)

    for variation in healthy:
        tell("healthy runs")
        yield subject.healthy(variation)
        done += 1
    for variation, name in harmful:
        damaged = inject(FAULTS[name], subject.graph, subject.values, draw)
        if name not in faults:
            continue
        tell(f"faults, {variation}")
        if damaged is not None:
            with suppress(TargetFailed):
                yield subject.damaged(variation, name, damaged)
        done += 1
