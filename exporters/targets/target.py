"""What a target is: a platform that turns the canonical ONNX into something that runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compiler.quantise import Scheme
from datac.documents.engine_plan import EnginePlan
from datac.documents.precision import Precision
from datac.documents.profile import Profile, half_to_twice
from datac.errors import BadInput, DatacError, PlatformMissing

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Missing:
    """What this machine lacks, and the command or page that brings it: together one sentence."""

    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.what}; {self.how}"


class TargetFailed(DatacError):
    """A platform that is here refused the model or broke: the report's status `failed`."""

    exit_code = 1


def require(missing: Missing | None) -> None:
    """Raise `PlatformMissing` if something is missing.

    Every `build` and `load` begins with this: TensorRT without a driver does not raise, it
    ends the process.
    """
    if missing is not None:
        raise PlatformMissing(str(missing))


def require_shape(
    name: str, expected: Sequence[int | str | None], given: tuple[int, ...], engine: str
) -> None:
    """Raise `BadInput` if `given` is not of the shape `expected`, whose open sizes are no number.

    TensorRT writes an open size as -1; no expectation here is negative otherwise.
    """
    fixed = [size if isinstance(size, int) and size >= 0 else None for size in expected]
    if len(fixed) != len(given) or any(
        f not in (None, g) for f, g in zip(fixed, given, strict=True)
    ):
        wanted = "x".join("?" if size is None else str(size) for size in fixed)
        got = "x".join(map(str, given))
        raise BadInput(
            f"the engine {engine} takes {name} of size {wanted} and was given {got}; "
            "compile it for that size (--input), or for several (--profile)"
        )


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is specialised. `input_shape` is (N, C, H, W) of the one input.

    precision: of the arithmetic; inputs and outputs are float32 in all.

    dynamic_height_width: leave batch, height and width open; otherwise the engine takes
    `input_shape` alone.
    profile: of an open engine, the sizes it is declared for.
    device, threads: where and on how many threads the loaded engine runs; None: every core.
    planned_threads: those that a plan chose, and that stay with the engine.
    embed: what is to be in it besides the network: "preprocess", "argmax".
    rewrites: of its own model, by name; None leaves it to the target's default.
    opset: of its own model; None: datac's choice. tuning: the plan that both come from, if any.
    refittable: built so that it can be given new weights later, where the platform knows how.
    compute_capabilities: what a trt-rtx engine is made for ("8.6", "12.0"); none: its default,
    every GPU it knows from 8.0 on.
    progress: called with (what, share done in 0..1) during long builds.
    """

    input_shape: tuple[int, int, int, int]
    precision: Precision = "f32"
    dynamic_height_width: bool = False
    profile: Profile | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int | None = None
    planned_threads: int | None = None
    embed: tuple[str, ...] = ()
    rewrites: tuple[str, ...] | None = None
    opset: int | None = None
    tuning: EnginePlan | None = None
    refittable: bool = False
    compute_capabilities: tuple[str, ...] = ()
    progress: Callable[[str, float], None] | None = None

    @property
    def span(self) -> Profile:
        """The sizes of an open engine whose platform wants to know them."""
        return self.profile or half_to_twice(self.input_shape)


@dataclass(frozen=True)
class Engine:
    """What a build left in its folder; the caller digests the file and writes the side-car.

    profile: the sizes that an open engine was made for, where there are any.
    """

    file: str
    versions: Mapping[str, str]
    device: str
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    profile: Profile | None = None


def require_version(
    title: str, target: str, precision: Precision, engine: Engine, here: str
) -> None:
    """Raise `PlatformMissing` where a plan is of another version: it is tied to its own."""
    built_with = next(iter(engine.versions.values()), "")
    if built_with != here:
        raise PlatformMissing(
            f"{engine.file} was built with {title} {built_with}, and here is {here}; rebuild it: "
            f"datac compile BUILD --target {target} --precision {precision}"
        )


class Runner(Protocol):
    """A loaded engine. Use as a context manager: leaving frees it."""

    device: str
    threads: int | None

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Answer, on the host."""

    def time_call(self, inputs: Arrays) -> tuple[float, float | None]:
        """(compute, transfer) of one call in milliseconds; transfer is None on a CPU.

        On a GPU both come from device events.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Target(Protocol):
    """One platform. Nothing of it is imported before one of these methods is called."""

    name: str
    typed: frozenset[Precision]
    """The precisions that are types in the engine's own ONNX; of any other the target is told."""
    int8: Scheme | None
    """What int8 it is fast with; None where it has none."""
    embeds: bool
    """Whether an engine may hold preprocessing and argmax; else it is the network alone."""
    control: Precision
    """What an engine in int8 is held against: the next thing that one would ship."""

    def missing_precision(self, precision: Precision) -> Missing | None:
        """What an engine of this precision lacks on this machine, if anything.

        Asked only where nothing of the target itself is missing.
        """

    def missing(self) -> Missing | None:
        """What building lacks on this machine, if anything."""

    def missing_to_run(self) -> Missing | None:
        """What running lacks on this machine, if anything."""

    def build(self, model: Path, options: BuildOptions, folder: Path) -> Engine:
        """Make the engine for `model` in `folder` (which exists and is empty)."""

    def load(self, folder: Path, engine: Engine, options: BuildOptions) -> Runner:
        """Load what `build` made. The caller has checked the digest."""


@runtime_checkable
class MayUseCuda(Protocol):
    """A target whose engines run on the CPU or, where it is asked for, on an NVIDIA GPU."""

    def missing_cuda(self) -> Missing | None:
        """What running on an NVIDIA GPU lacks on this machine, if anything."""


@runtime_checkable
class MayRefit(Protocol):
    """A target whose engines can be given new weights."""

    def refit(
        self,
        earlier: Path,
        versions: Mapping[str, str],
        model: Path,
        options: BuildOptions,
        folder: Path,
    ) -> Engine:
        """Make the engine for `model` in `folder` from an earlier one, built to be refitted.

        versions: of what built the earlier one. The caller has checked its digest, and that its
        model differs in nothing but weights.
        """


def missing_for(target: Target, options: BuildOptions) -> Missing | None:
    """What an engine with these options lacks on this machine, if anything.

    An engine for a device that was asked for and is not here is not built: nobody would have
    tried it, and the report must not read as if the device had answered.
    """
    missing = target.missing()
    if missing is None:
        missing = target.missing_precision(options.precision)
    if missing is None and options.device == "cuda" and isinstance(target, MayUseCuda):
        return target.missing_cuda()
    return missing


def has_only(
    title: str, precisions: Sequence[Precision], asked: Precision, why: str
) -> Missing | None:
    """Missing, with the precisions that there are, unless the one asked for is among them."""
    if asked in precisions:
        return None
    return Missing(
        f"{title} has no {asked} engines: {why}", f"choose --precision {' or '.join(precisions)}"
    )
