"""The options that several commands share, each written once, and what they mean together."""

import functools
import math
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

from datac.errors import BadInput

if TYPE_CHECKING:  # pydantic would double the time of `datac --help`
    from datac.datasets.dataset import Dataset
    from datac.documents.genotype import Genotype
    from datac.documents.network import Network, Skeleton
    from datac.documents.quantisation import Method

Device = Literal["auto", "cpu", "cuda"]
Command = TypeVar("Command", bound=Callable[..., Any])

IMAGE_CHANNELS = 3
LARGEST_SIZE = 1 << 16
"""Of an image's side, as in the network document: a typing mistake shall not exhaust the memory."""


def sizes_option(
    name: str, form: str, example: str, *, square: bool = False, **attributes: Any
) -> Callable[[Command], Command]:
    """An option whose value is sizes joined by `x`: `3x224x224` → (3, 224, 224).

    `form` names each size, as in CHANNELSxHEIGHTxWIDTH. With `square`, one number stands for all.
    """

    def convert(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        sizes = sizes_of(text, form.count("x") + 1, square=square)
        if sizes is None:
            raise BadInput(
                f"{name} {text!r} is not {form} with sizes from 1 to {LARGEST_SIZE}; "
                f"write it as {example}"
            )
        return sizes

    return click.option(name, metavar=form, callback=convert, **attributes)


def sizes_of(text: str, count: int, *, square: bool = False) -> tuple[int, ...] | None:
    """`3x224x224` → (3, 224, 224), of so many sizes; None for anything else."""
    if not re.fullmatch("[0-9]{1,9}(x[0-9]{1,9})*", text):
        return None
    sizes = tuple(map(int, text.split("x")))
    if square and len(sizes) == 1:
        sizes *= count
    fits = len(sizes) == count and all(1 <= size <= LARGEST_SIZE for size in sizes)
    return sizes if fits else None


@dataclass(frozen=True)
class NetworkOptions:
    """The network options as given; None was not given. `input` is (channels, height, width)."""

    network: "Skeleton | None" = None
    channels: int | None = None
    cells: int | None = None
    classes: int | None = None
    input: tuple[int, int, int] | None = None
    output_stride: Literal[8, 16, 32] | None = None
    head_channels: int | None = None

    def sizes(self) -> dict[str, Any]:
        """What was given, but the skeleton, by the names of the network document."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value for name, value in given.items() if name != "network" and value is not None
        }


@dataclass(frozen=True)
class CalibrationOptions:
    """How an engine in int8 is calibrated. keep: what stays float32, in words."""

    calibration: "Method" = "percentile"
    calibration_samples: int = 64
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunOptions:
    """How a search or a training runs; None leaves it to the recipe. `crop` is (height, width)."""

    batch_size: int | None = None
    crop: tuple[int, int] | None = None
    device: Device = "auto"
    precision: Literal["f32", "bf16"] = "f32"
    seed: int = 0
    resume: bool = False
    restart: bool = False

    @property
    def fabric_precision(self) -> Literal["32-true", "bf16-mixed"]:
        """The precision as Lightning Fabric calls it."""
        return "32-true" if self.precision == "f32" else "bf16-mixed"

    def __post_init__(self) -> None:
        """Refuse what cannot both be meant."""
        if self.resume and self.restart:
            raise BadInput("both --resume and --restart were given; choose one")


POSITIVE = click.IntRange(min=1)


class Finite(click.FloatRange):
    """A finite number in a range; click's own ranges take NaN and infinity."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """As click asks for it; a usage error for what is no such number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


class Seconds(Finite):
    """So many seconds or more, and at most a week."""

    name = "seconds"

    def __init__(self, least: float) -> None:
        super().__init__(min=least, max=WEEK)


WEEK = 7 * 24 * 3600
"""In seconds."""

RATE = Finite(min=0, min_open=True)


def _threads_that_exist(
    _context: click.Context, _option: click.Parameter, count: int | None
) -> int | None:
    """Far more threads than cores hang a runtime without a word."""
    cores = os.cpu_count() or 1
    if count is not None and count > cores:
        from datac.documents.sentences import counted

        here = counted(cores, "core")
        raise BadInput(f"--threads {count}: this machine has {here}; give at most {cores}")
    return count


threads_option = click.option(
    "--threads",
    type=POSITIVE,
    metavar="N",
    callback=_threads_that_exist,
    help="CPU threads of an engine.  [default: every core]",
)

_NETWORK_OPTIONS = (
    click.option(
        "--network",
        type=click.Choice(["cifar", "imagenet", "segmentation"]),
        help="What surrounds the cells.  [default: the genotype's own, else what --data asks for, "
        "else cifar]",
    ),
    click.option("--channels", type=POSITIVE, metavar="C", help="Channels of the first cell."),
    click.option("--cells", type=POSITIVE, metavar="L", help="Number of cells."),
    click.option("--classes", type=POSITIVE, metavar="K", help="Number of classes."),
    sizes_option("--input", "CHANNELSxHEIGHTxWIDTH", "3x224x224", help="Size of one input."),
    click.option(
        "--output-stride",
        type=click.Choice(["8", "16", "32"]),
        callback=lambda _context, _option, value: None if value is None else int(value),
        help="Input size over the size of the last cell's output (segmentation).",
    ),
    click.option(
        "--head-channels",
        type=POSITIVE,
        metavar="N",
        help="Channels of the head's branches (segmentation).",
    ),
)

_RUN_OPTIONS = (
    click.option("--batch-size", type=POSITIVE, metavar="N", help="Samples in a step."),
    sizes_option(
        "--crop",
        "HEIGHTxWIDTH",
        "180x240",
        square=True,
        help="Size of the samples after augmentation; one number for a square.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto: cuda where there is one.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["f32", "bf16"]),
        default="f32",
        show_default=True,
        help="bf16: bfloat16 where torch's autocast finds it safe.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0, max=2**32 - 1),
        default=0,
        show_default=True,
        help="Seed of every random choice.",
    ),
    click.option("--resume", is_flag=True, help="Go on with what was interrupted."),
    click.option("--restart", is_flag=True, help="Throw away what was interrupted."),
)


def network_options(command: Command) -> Command:
    """Give a command the network options, as one argument `network_options: NetworkOptions`."""
    return _gathered(command, "network_options", NetworkOptions, _NETWORK_OPTIONS)


def run_options(command: Command) -> Command:
    """Give a command the options of a run, as one argument `run_options: RunOptions`."""
    return _gathered(command, "run_options", RunOptions, _RUN_OPTIONS)


def _gathered(
    command: Command,
    argument: str,
    kind: type[NetworkOptions] | type[RunOptions] | type[CalibrationOptions],
    options: tuple[Callable[[Command], Command], ...],
) -> Command:
    names = [field.name for field in fields(kind)]

    @functools.wraps(command)
    def gather(*args: Any, **values: Any) -> Any:
        values[argument] = kind(**{name: values.pop(name) for name in names})
        return command(*args, **values)

    decorated: Any = gather
    for option in reversed(options):
        decorated = option(decorated)
    return cast("Command", decorated)


def is_given(name: str) -> bool:
    """Whether the command line of the running command has this option, by its parameter's name."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def require_only(names: Collection[str], why: str) -> None:
    """BadInput for the first option on the command line that is none of these."""
    for parameter in click.get_current_context().command.params:
        if parameter.name and parameter.name not in names and is_given(parameter.name):
            raise BadInput(f"{why}; leave out {parameter.opts[0]}")


def network_from(
    options: NetworkOptions, genotype: "Genotype | None" = None, dataset: "Dataset | None" = None
) -> "Network":
    """The network to build: the command line, then the genotype's own, then the defaults.

    `--network` that differs from the genotype's own drops all of the genotype's sizes. A data set
    fixes the classes, and the task where nothing else does; BadInput where it contradicts.
    """
    own = None if genotype is None else genotype.network
    skeleton = options.network or (own.skeleton if own else _skeleton_for(dataset))
    network = _with_sizes(_start(skeleton, own), options.sizes())
    return network if dataset is None else _for_dataset(network, options, dataset)


def _start(skeleton: "Skeleton", own: "Network | None") -> "Network":
    from datac.documents.network import DEFAULTS

    return own if own is not None and own.skeleton == skeleton else DEFAULTS[skeleton]


def _skeleton_for(dataset: "Dataset | None") -> "Skeleton":
    return "segmentation" if dataset is not None and dataset.task == "segmentation" else "cifar"


def _with_sizes(network: "Network", sizes: dict[str, Any]) -> "Network":
    """`network` with other sizes, validated again.

    Another class count has other class names; images are resized to another input.
    """
    from pydantic import ValidationError

    from datac.documents.network import Network
    from datac.documents.sentences import first_problem

    if sizes.get("classes", network.classes) != network.classes:
        sizes = {**sizes, "class_info": None}
    if "input" in sizes and network.preprocessing is not None:
        resize = {"resize": sizes["input"][1:]}
        sizes = {**sizes, "preprocessing": network.preprocessing.model_copy(update=resize)}
    try:
        return Network.model_validate({**dict(network), **sizes})
    except ValidationError as error:
        raise BadInput(f"network options: {first_problem(error, Network)}") from error


def _for_dataset(network: "Network", options: NetworkOptions, dataset: "Dataset") -> "Network":
    from datac.documents.sentences import counted

    if network.task != dataset.task:
        fitting = "segmentation" if dataset.task == "segmentation" else "cifar"
        raise BadInput(
            f"{dataset.name} is labelled for {dataset.task}, but the {network.skeleton} network "
            f"answers {network.task}; choose another data set or --network {fitting}"
        )
    if network.input[0] != IMAGE_CHANNELS:
        raise BadInput(
            f"--input with {counted(network.input[0], 'channel')}: the images of a data set have "
            f"{IMAGE_CHANNELS}"
        )
    count = len(dataset.classes.names)
    if options.classes not in (None, count):
        raise BadInput(
            f"--classes {options.classes} disagrees with {dataset.name}, which has "
            f"{counted(count, 'class', 'classes')}; leave the option out"
        )
    from datac.datasets.preprocess import prepared_network

    return prepared_network(_with_sizes(network, {"classes": count}), dataset)


_CALIBRATION_OPTIONS = (
    click.option(
        "--calibration",
        type=click.Choice(["min-max", "percentile", "entropy"]),
        default="percentile",
        show_default=True,
        help="With int8: which range of the values seen is held.",
    ),
    click.option(
        "--calibration-samples",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        help="With int8: of the training split of --data.",
    ),
    click.option(
        "--keep",
        multiple=True,
        metavar="PLACE",
        help="With int8: what stays float32. stem, head, depthwise, cell3/node2/path0, or "
        "normal/node2/path0 of all such cells.",
    ),
)


def calibration_options(command: Command) -> Command:
    """The options of int8, as one argument `calibration_options: CalibrationOptions`."""
    return _gathered(command, "calibration_options", CalibrationOptions, _CALIBRATION_OPTIONS)


max_drop_option = click.option(
    "--max-drop",
    type=Finite(min=0, max=1),
    metavar="DROP",
    help="How far the metric of an engine below float32 may fall behind its control.  "
    "[default: 0.01]",
)


trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Load engines that are not those of the manifest: native code of whoever made them.",
)
