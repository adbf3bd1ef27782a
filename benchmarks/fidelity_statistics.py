"""What the tables say of numbers: means with intervals, rank correlation, gaps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fidelity_record import Record
from scipy import stats

CONFIDENCE = 0.95
FEWEST_FOR_TAU = 5
"""With fewer pairs even a perfect order has p > 0.05: 2 / 4!, of both directions."""

Finding = Literal["better", "worse", "inconclusive"]


@dataclass(frozen=True)
class Difference:
    """Of two means: how much more the first is, and Welch's 95 % interval of that."""

    mean: float
    low: float
    high: float

    @property
    def finding(self) -> Finding:
        """Where the interval holds 0 nobody knows."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "inconclusive"


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference | None:
    """None where one side has fewer than two values, or neither varies: there is no interval."""
    if min(len(ours), len(theirs)) < 2:
        return None
    mean = statistics.fmean(ours) - statistics.fmean(theirs)
    if statistics.variance(ours) + statistics.variance(theirs) == 0:
        return None
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    interval = test.confidence_interval(CONFIDENCE)
    return Difference(mean, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Correlation:
    """Kendall's tau-b of so many pairs, and the p-value of there being none."""

    tau: float
    p: float
    pairs: int


def correlation(pairs: Sequence[tuple[float, float]]) -> Correlation | None:
    """None where there are too few pairs, or one side does not vary."""
    if len(pairs) < FEWEST_FOR_TAU:
        return None
    found = stats.kendalltau([a for a, _ in pairs], [b for _, b in pairs])
    if math.isnan(found.statistic):
        return None
    return Correlation(float(found.statistic), float(found.pvalue), len(pairs))


def mean_absolute_gap(records: Sequence[Record]) -> float | None:
    """Over the runs whose supernet is above chance; None where there is none."""
    gaps = [abs(gap) for gap in gaps_of(records)]
    return statistics.fmean(gaps) if gaps else None


def gaps_of(records: Sequence[Record]) -> list[float]:
    """Signed; runs at chance have none."""
    found = [r.searched.gap.gap for r in records if r.searched and r.searched.gap]
    return [gap for gap in found if gap is not None]


def search_pairs(records: Sequence[Record], which: str) -> list[tuple[float, float]]:
    """(search-time metric, retrained metric) of runs that have both. which: sampled or derived."""
    gaps = [(r.searched.gap if r.searched else None, r.metric) for r in records]
    return [
        (gap.supernet if which == "sampled" else gap.derived, metric)
        for gap, metric in gaps
        if gap is not None
    ]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The deviation of a sample; None of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
