"""What a compile is to make, and whether that can be asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from compiler.embed import PREPROCESS
from datac.documents.engine_plan import EnginePlan
from datac.documents.genotype import Genotype
from datac.documents.latency_table import LatencyTable
from datac.documents.network import Network
from datac.documents.precision import Precision
from datac.documents.profile import Profile, Shape
from datac.errors import BadInput
from exporters.auto import AUTO, Pair, engines_here
from exporters.control import MAX_DROP
from exporters.default_plan import chosen, rewrites_for
from exporters.engines import Source
from exporters.quantisation import Calibration
from exporters.targets import resolve
from exporters.targets.cores import available_cores
from exporters.targets.target import BuildOptions, MayRefit, MayUseCuda, TargetFailed, missing_for
from exporters.task import LabelledInputs
from exporters.tune import tune

LARGEST_INPUT = 50_000_000
"""Values of the largest input of a profile: four images of 2048x2048."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Request:
    """What to make of a network: every target in every precision, or all that runs here (`auto`).

    precisions: none for f32, or with `auto` for all that this machine has.

    dynamic: engines of open sizes. profile: of these, the sizes they are declared for.
    calibration: what int8 is calibrated on. rewrites: None leaves them to each target.
    table: of this machine; the report holds what it predicts against what is measured.
    plans: of single engines, replayed. tune_seconds: for each of the others, to find its plan.
    max_drop: of the metric, below float32. refittable: engines that can be given new weights.
    refit: an earlier build whose engines are given them.
    finish: called with the folder once `report.json` stands in it, before the folder takes its
    place; the command line writes the page there.
    """

    targets: tuple[str, ...]
    out: Path
    precisions: tuple[Precision, ...] = ()
    data: LabelledInputs | None = None
    dynamic: bool = False
    profile: Profile | None = None
    threads: int | None = None
    device: str = "cpu"
    seed: int = 0
    bench_seconds: float = 10.0
    calibration: Calibration | None = None
    embed: tuple[str, ...] = ()
    rewrites: tuple[str, ...] | None = None
    plans: tuple[EnginePlan, ...] = ()
    tune_seconds: float = 0.0
    table: LatencyTable | None = None
    refittable: bool = False
    refit: Path | None = None
    max_drop: float = MAX_DROP
    command: str = ""
    progress: Progress | None = None
    finish: Callable[[Path], object] | None = None

    def say(self, what: str, share: float) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, share)

    def asked(self, network: Network) -> tuple[Pair, ...]:
        """(target, precision) of every engine that was asked for."""
        pairs: list[Pair] = []
        for name in self.targets:
            if name == AUTO:
                int8 = self.calibration is not None
                pairs += engines_here(self.options(network), self.precisions, int8=int8)
            else:
                pairs += [(name, precision) for precision in self.precisions or ("f32",)]
        return tuple(dict.fromkeys(pairs))

    def engines(self, network: Network, standing: Collection[str] = ()) -> tuple[Pair, ...]:
        """Those asked for, and before each target's the control of its engine in int8.

        standing: engines that stay, by the names of their folders.
        """
        wanted: list[Pair] = []
        asked = self.asked(network)
        for name in dict.fromkeys(name for name, _ in asked):
            control = resolve(name).control
            stands = f"{name}-{control}" in standing
            if (name, "int8") in asked and resolve(name).int8 is not None and not stands:
                wanted.append((name, control))
            wanted += [pair for pair in asked if pair[0] == name]
        return tuple(dict.fromkeys(wanted))

    def check(self, network: Network) -> None:
        """BadInput for a target that there is none of, and for what lacks data."""
        for name in self.targets:
            if name == AUTO:
                continue
            resolve(name)
            rewrites_for(name, self.options(network))
        self._check_profile((1, *network.input))
        self._check_plans(network)
        self._check_table(network)
        self._check_refit()
        if PREPROCESS in self.embed and network.preprocessing is None:
            raise BadInput(
                "--embed preprocess needs to know how an image is prepared, and this network does "
                "not say; give --data DATASET with it, or a genotype that datac train wrote"
            )
        if "int8" in self.precisions and self.calibration is None:
            raise BadInput(
                "--precision int8 is calibrated on real inputs; give --data DATASET with it"
            )

    def check_genotype(self, genotype: Genotype, network: Network) -> None:
        """BadInput for a plan that was measured on another network: its figures are not of this."""
        for plan in self.plans:
            other = None if plan.network is None else plan.network.differences(network)
            if plan.genotype_hash != genotype.hash:
                other = f"genotype {plan.genotype_hash[:12]}, not {genotype.hash[:12]}"
            if other:
                raise BadInput(
                    f"--plan of {plan.target} {plan.precision} was measured on another network "
                    f"({other}); measure one with --tune, or give its rewrites by --rewrite"
                )

    def _check_refit(self) -> None:
        """A target that can do it has to be asked for."""
        for option, given in (("--refittable", self.refittable), ("--refit", self.refit)):
            targets = [name for name in self.targets if name != AUTO]
            if given and not any(isinstance(resolve(name), MayRefit) for name in targets):
                raise BadInput(
                    f"{option} is for --target trt; the engines of other targets take new weights "
                    "by being made again"
                )
        if self.refit is not None and self.tune_seconds:
            raise BadInput("--refit keeps the plan that an engine was made by; leave out --tune")
        if self.refit is not None and self.refit.resolve() == self.out.resolve():
            raise BadInput(f"--refit {self.refit} is also the folder to write; give another --out")

    def _check_plans(self, network: Network) -> None:
        """Each is of an engine that is asked for, and of rewrites that there are."""
        if self.plans and self.rewrites is not None:
            raise BadInput("both --plan and --rewrite were given; choose one")
        asked = self.asked(network)
        for plan in self.plans:
            if (plan.target, plan.precision) not in asked:
                raise BadInput(
                    f"--plan is of {plan.target} {plan.precision}, which is not asked for; give "
                    f"--target {plan.target} --precision {plan.precision} with it"
                )
            if self.threads is not None and plan.threads not in (None, self.threads):
                raise BadInput(
                    f"--plan of {plan.target} {plan.precision} is for {plan.threads} CPU threads, "
                    f"not {self.threads}; leave out --threads"
                )
            rewrites_for(plan.target, self._planned(self.options(network, plan.precision), plan))
        planned = {(plan.target, plan.precision) for plan in self.plans}
        tunable = {(name, p) for name, p in asked if p != "int8" and resolve(name).embeds}
        if self.tune_seconds and planned and planned >= tunable:
            raise BadInput("all that --tune could tune has its --plan; leave out one of the two")

    def _check_table(self, network: Network) -> None:
        """The table has to be of engines like these: by their default plan, of one size."""
        if self.table is None:
            return
        other = {
            "--rewrite": self.rewrites is not None,
            "--plan": self.plans,
            "--tune": self.tune_seconds,
            "--embed": self.embed,
            "--profile": self.profile,
            "--height-width dynamic": self.dynamic,
        }
        for option, given in other.items():
            if given:
                raise BadInput(
                    "--table predicts engines of one size, made by the default plan; "
                    f"leave out {option}, or the table"
                )
        where = "cuda" if self.table.machine.device.startswith("cuda") else "cpu"
        may_be_elsewhere = any(isinstance(resolve(n), MayUseCuda) for n in self.table.runtimes)
        if may_be_elsewhere and where != self.device:
            raise BadInput(f"--table is of engines on {where}; give --device {where} with it")
        threads = self.table.machine.threads
        if threads not in (None, self.threads or available_cores()):
            raise BadInput(
                f"--table is of engines on {threads} CPU threads; give --threads {threads} with "
                "it, or measure one for another number with datac table --threads"
            )

        self._check_network_of_table(self.table, network)

    def _check_network_of_table(self, table: LatencyTable, network: Network) -> None:
        known = table.remainders_of(network)
        if not known:
            raise BadInput(
                f"--table is of another network ({table.other_networks(network)}); measure one "
                f"for this: {table.renewal(network)}"
            )
        if not known.keys() & {*self.engines(network)}:
            names = " and ".join(" ".join(setup) for setup in known)
            raise BadInput(f"--table is of engines of {names}, and none of these is asked for")

    @staticmethod
    def _planned(options: BuildOptions, plan: EnginePlan) -> BuildOptions:
        return replace(
            options,
            rewrites=chosen(plan.rewrites),
            opset=plan.opset,
            threads=options.threads or (plan.threads and min(plan.threads, available_cores())),
            planned_threads=plan.threads,
            tuning=plan,
        )

    def tuned(self, name: str, source: Source, options: BuildOptions) -> BuildOptions:
        """The options with the engine's plan: the one given, or the one that measuring finds."""
        for plan in self.plans:
            if (plan.target, plan.precision) == (name, options.precision):
                return self._planned(options, plan)
        target = resolve(name)
        may = options.precision != "int8" and target.embeds and self.rewrites is None
        if not (self.tune_seconds and may) or missing_for(target, options):
            return options
        if target.missing_to_run() is not None:
            return options  # nothing here could measure it
        try:
            return self._planned(options, tune(source, target, options, self.tune_seconds))
        except TargetFailed:
            return options  # building it will say what is wrong

    def _check_profile(self, own: Shape) -> None:
        """It has to hold the network's own size, and its largest one has to be judged."""
        if self.profile is None:
            return
        if not self.profile.takes(own):
            raise BadInput(
                f"--profile {self.profile} does not hold the network's own input "
                f"{'x'.join(map(str, own))}; widen it, or compile for another --input"
            )
        if math.prod(self.profile.max) > LARGEST_INPUT:
            raise BadInput(
                f"--profile {self.profile}: its largest input has more than {LARGEST_INPUT:,} "
                "values, too many for the reference in float64; declare a smaller one"
            )

    def options(self, network: Network, precision: Precision = "f32") -> BuildOptions:
        """How engines of this network are specialised."""
        return BuildOptions(
            (1, *network.input),
            precision=precision,
            dynamic_height_width=self.dynamic or self.profile is not None,
            profile=self.profile,
            device="cuda" if self.device == "cuda" else "cpu",
            threads=self.threads,
            embed=self.embed,
            rewrites=self.rewrites,
            refittable=self.refittable,
            progress=self.progress,
        )
