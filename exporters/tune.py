"""`--tune`: how an engine's own model is best made for this machine, decided by measuring.

First everything is tried alone, beside the plain engine, in one interleaved run. What is not slower
is then added one after the other, the most promising first, each time beside the engine without it;
it stays only if the 95 % interval of the ratio lies below 1. So two that are good alone and bad
together are found out, and nothing is kept for what noise has shown. At last the target's default
plan is held against what was found, and stays unless that is faster: where the machine is too noisy
to show anything, tuning changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from compiler.lower import INPUT
from compiler.passes import REWRITES
from compiler.rewrite import apply
from datac.documents.engine_plan import Decision, EnginePlan
from datac.documents.sentences import counted
from exporters.control import FEWEST_ROUNDS, interval, speedups
from exporters.default_plan import is_one_size, is_open, rewrites_for
from exporters.engines import Source
from exporters.environment import environment
from exporters.measure import measure
from exporters.onnx_writer import TUNED_OPSETS
from exporters.targets.target import BuildOptions, Runner, Target, TargetFailed

TRIED: tuple[tuple[str, ...], ...] = (
    ("drop_padding_taps",),
    ("pad_channels",),
    ("share_relu", "sum_halves"),
    ("share_relu", "relu_above_concat"),
    ("share_relu", "relu_above_concat", "split_pointwise"),
    ("share_relu", "merge_pointwise"),
    ("share_relu", "merge_depthwise"),
    ("merge_sums",),
    ("merge_sums", "merge_sums_with_skips"),
    ("balance_sums",),
    ("remove_zero_paths",),
    ("remove_dead_channels",),
)
"""What is tried together: the last of each, and those that open the way for it."""

ON_CPU = ("onnx", "openvino")
"""The targets that have threads, and to which an opset makes a difference."""

ROUNDS = 21

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Choice:
    """How an engine is made, besides its target and precision."""

    rewrites: frozenset[str] = frozenset()
    opset: int | None = None
    threads: int | None = None

    @property
    def ordered(self) -> tuple[str, ...]:
        """The rewrites in the order in which they run."""
        return tuple(name for name in REWRITES if name in self.rewrites)


@dataclass(frozen=True)
class Option:
    """One thing to try: what it is called, and what becomes of a choice with it."""

    title: str
    change: Callable[[Choice], Choice]


def tune(source: Source, target: Target, options: BuildOptions, seconds: float) -> EnginePlan:
    """Decide for one engine. `seconds`: about as long as it may take."""
    return _Tuning(source, target, options, seconds).run()


class _Tuning:
    def __init__(
        self, source: Source, target: Target, options: BuildOptions, seconds: float
    ) -> None:
        self._source, self._target, self._options = source, target, options
        self._seconds = self._share = seconds
        self._spent, self._what = 0.0, ""
        shape = options.input_shape
        self._input = next(x for x in source.inputs if x.shape == shape)
        self._decisions: list[Decision] = []

    def run(self) -> EnginePlan:
        current = Choice(threads=self._options.threads)
        promising = self._alone(current)
        self._share = self._seconds / 2 / (len(promising) + 1)  # and at last the default plan
        for done, option in enumerate(promising):
            self._spent = self._seconds / 2 + done * self._share
            current = self._faster(current, option.change(current), option.title)
        self._spent = self._seconds - self._share
        current = self._or_default(current)
        return EnginePlan(
            target=self._target.name,
            precision=self._options.precision,
            rewrites=current.ordered,
            opset=current.opset,
            threads=None if current.threads == self._options.threads else current.threads,
            decisions=tuple(self._decisions),
            genotype_hash=self._source.genotype.hash,
            network=self._source.network,
            environment=environment(),
        )

    def _alone(self, plain: Choice) -> list[Option]:
        """What is not slower by itself, the most promising first; the others are decided here."""
        options = {option.title: option for option in self._options_to_try(plain)}
        with ExitStack() as stack:
            runners = {"": self._load(stack, plain)}
            for title, option in list(options.items()):
                self._say(f"engine with {title}")
                try:
                    runners[title] = self._load(stack, option.change(plain))
                except TargetFailed as error:
                    del options[title]
                    self._decisions.append(Decision(option=title, kept=False, reason=str(error)))
            self._say("each change by itself")
            ratios = self._ratios(runners, self._seconds / 2)
        slower = [title for title in options if ratios[title][1] >= 1]
        self._decisions += [self._decision(title, ratios[title], kept=False) for title in slower]
        left = [title for title in options if title not in slower]
        return [options[title] for title in sorted(left, key=lambda title: ratios[title][1])]

    def _or_default(self, found: Choice) -> Choice:
        """What was found, if it is faster than the target's default; else the default."""
        names = rewrites_for(self._target.name, replace(self._options, rewrites=None))
        default = Choice(frozenset(names), threads=self._options.threads)
        if found.rewrites == default.rewrites:
            return found
        return self._faster(default, found, "this instead of the default plan")

    def _faster(self, current: Choice, changed: Choice, title: str) -> Choice:
        """The change, if it is faster beyond the noise; noted either way."""
        if changed == current:
            return current  # what it consists of is there already
        self._say(f"with and without {title}")
        try:
            with ExitStack() as stack:
                runners = {"": self._load(stack, current), title: self._load(stack, changed)}
                ratio = self._ratios(runners, self._share)[title]
        except TargetFailed as error:
            self._decisions.append(Decision(option=title, kept=False, reason=str(error)))
            return current
        kept = ratio[2] < 1
        self._decisions.append(self._decision(title, ratio, kept=kept))
        return changed if kept else current

    def _options_to_try(self, plain: Choice) -> list[Option]:
        found = []
        for names in TRIED:
            title = " + ".join(names)
            if is_one_size(names[0]) and is_open(self._options):
                reason = "it holds for one size alone"
            elif not self._fires(names):
                reason = "there is nothing to rewrite"
            else:
                found.append(Option(title, _adding(names)))
                continue
            self._decisions.append(Decision(option=title, kept=False, reason=reason))
        on_cpu = self._options.device == "cpu" and self._target.name in ON_CPU
        if on_cpu and self._options.precision != "bf16":
            found += [Option(f"opset {opset}", _with_opset(opset)) for opset in TUNED_OPSETS]
        if on_cpu and plain.threads is None:
            counts = [count for count in (1, 2, 4, 8) if count < (os.cpu_count() or 1)]
            found += [Option(counted(count, "thread"), _with_threads(count)) for count in counts]
        return found

    def _fires(self, names: Sequence[str]) -> bool:
        """Whether the last of them does anything behind the others."""
        before, _ = apply(self._source.graph, [REWRITES[name] for name in names[:-1]])
        return bool(apply(before, [REWRITES[names[-1]]])[1])

    def _load(self, stack: ExitStack, choice: Choice) -> Runner:
        options = replace(
            self._options, rewrites=choice.ordered, opset=choice.opset, threads=choice.threads
        )
        return self._source.load(self._target, options, stack)

    def _ratios(
        self, runners: Mapping[str, Runner], seconds: float
    ) -> dict[str, tuple[float, float, float]]:
        """Title → (low, median, high) of its time over that of the first."""
        found = measure(
            runners,
            {INPUT: self._input},
            budget_seconds=seconds,
            rounds=ROUNDS,
            progress=lambda _, share: self._say(self._what, share * seconds),
            fewest_rounds=FEWEST_ROUNDS,
        )
        first = next(iter(runners))
        return {
            title: interval(speedups(found[first], latency))
            for title, latency in found.items()
            if title != first
        }

    @staticmethod
    def _decision(title: str, ratio: tuple[float, float, float], *, kept: bool) -> Decision:
        low, middle, high = ratio
        return Decision(option=title, ratio=middle, low=low, high=high, kept=kept)

    def _say(self, what: str, seconds: float = 0.0) -> None:
        """seconds: of what is being measured, on top of what has been."""
        self._what = what
        if self._options.progress is not None:
            share = min(1.0, (self._spent + seconds) / self._seconds)
            self._options.progress(f"tune {self._target.name}, {what}", share)


def _adding(names: Sequence[str]) -> Callable[[Choice], Choice]:
    return lambda choice: replace(choice, rewrites=choice.rewrites | {*names})


def _with_opset(opset: int) -> Callable[[Choice], Choice]:
    return lambda choice: replace(choice, opset=opset)


def _with_threads(count: int) -> Callable[[Choice], Choice]:
    return lambda choice: replace(choice, threads=count)
