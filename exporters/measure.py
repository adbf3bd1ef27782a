"""Latency: rounds that go over all runners in turn, so that what disturbs one disturbs all."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from datac.documents.report import Latency
from exporters.targets.target import Arrays, Runner

WIDEST_SPREAD = 0.10
"""A wider spread of the rounds' medians is inconclusive.

If the rounds scatter normally, 15 of them at a spread of 0.10 leave the overall median with a
standard error of 1.25 · 0.10 / 1.35 / √15 = 2.4 %, and a ratio of two such medians with 3.4 %:
a ratio of 1.1 between two runtimes still stands out by three times its error.
"""
FEWEST_ROUNDS = 5
"""Of fewer medians an interquartile range says nothing."""
MOST_CALLS = 100
"""More calls in a round only repeat what the round already knows."""

Progress = Callable[[str, float], None]


@dataclass
class _Record:
    """What one runner did. Times in milliseconds, those of each round by themselves."""

    rounds: list[list[float]] = field(default_factory=list)
    transfers: list[float] = field(default_factory=list)


def measure(
    runners: Mapping[str, Runner],
    inputs: Arrays,
    *,
    budget_seconds: float = 10.0,
    rounds: int = 15,
    fewest_rounds: int = FEWEST_ROUNDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Latency]:
    """The latency of each runner on `inputs`, measured in one run.

    Each round visits the runners in an order drawn anew, so that none is always the one after
    another that left the caches cold. A visit's first call is not counted, for the same reason.
    Every visit takes the same share of `budget_seconds`, so slow runners make fewer calls. If
    the calls are long there are fewer rounds, but never fewer than `fewest_rounds`, whatever they
    take.
    """
    if rounds < FEWEST_ROUNDS:
        raise ValueError(f"{rounds} rounds are too few; {FEWEST_ROUNDS} are the least")
    shortest_round_ms = 2 * sum(_warm_up(runner, inputs) for runner in runners.values())
    if shortest_round_ms > 0:
        rounds = max(fewest_rounds, min(rounds, int(budget_seconds * 1000 / shortest_round_ms)))
    visit_ms = budget_seconds * 1000 / rounds / max(1, len(runners))
    records = {name: _Record() for name in runners}
    order = list(runners)
    draw = random.Random(seed)
    for done in range(rounds):
        draw.shuffle(order)
        for name in order:
            _visit(runners[name], inputs, records[name], visit_ms)
        if progress is not None:
            progress(f"latency, round {done + 1} of {rounds}", (done + 1) / rounds)
    batch = _batch(inputs) if runners else 0
    return {name: summarise(runners[name], records[name], batch) for name in runners}


def summarise(runner: Runner, record: _Record, batch: int) -> Latency:
    """Percentiles over all calls; the spread over the medians of the rounds."""
    times = np.concatenate([np.asarray(times) for times in record.rounds])
    median, p90, p99 = np.percentile(times, [50, 90, 99])
    medians = [float(np.median(times)) for times in record.rounds]
    spread = relative_spread(medians)
    transfers = record.transfers
    return Latency(
        median=float(median),
        p90=float(p90),
        p99=float(p99),
        spread=spread,
        conclusive=spread <= WIDEST_SPREAD,
        rounds=len(record.rounds),
        round_medians=tuple(medians),
        calls=len(times),
        batch=batch,
        threads=runner.threads,
        device=runner.device,
        transfer_median=float(np.median(transfers)) if transfers else None,
    )


def relative_spread(medians: Sequence[float]) -> float:
    """Interquartile range / median: no single slow round moves it."""
    low, middle, high = np.percentile(medians, [25, 50, 75])
    return float((high - low) / middle) if middle > 0 else 0.0


def _warm_up(runner: Runner, inputs: Arrays) -> float:
    """Milliseconds of a warm call. The first calls compile kernels and find memory."""
    for _ in range(3):
        runner.time_call(inputs)
    return min(_total(runner.time_call(inputs)) for _ in range(2))


def _visit(runner: Runner, inputs: Arrays, record: _Record, visit_ms: float) -> None:
    """Call until the time is spent, but count one call at least."""
    spent_ms = _total(runner.time_call(inputs))
    times: list[float] = []
    while not times or (spent_ms < visit_ms and len(times) < MOST_CALLS):
        compute, transfer = runner.time_call(inputs)
        spent_ms += _total((compute, transfer))
        times.append(compute)
        if transfer is not None:
            record.transfers.append(transfer)
    record.rounds.append(times)


def _total(times: tuple[float, float | None]) -> float:
    compute, transfer = times
    return compute + (transfer or 0.0)


def _batch(inputs: Arrays) -> int:
    """N of the first input, (N, ...)."""
    return int(next(iter(inputs.values())).shape[0])
