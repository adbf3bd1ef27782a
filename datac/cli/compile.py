"""`datac compile`: from a genotype, or from an earlier build, to checked engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datac.cli.options import (
    LARGEST_SIZE,
    Seconds,
    calibration_options,
    is_given,
    max_drop_option,
    network_options,
    require_only,
    sizes_of,
    threads_option,
)
from datac.cli.sections import NETWORK, SectionedCommand
from datac.documents.precision import PRECISIONS
from datac.errors import BadInput
from datac.exit_codes import ExitCode

if TYPE_CHECKING:  # pydantic would double the time of `datac --help`
    from datac.documents.profile import Profile


def parts_of(text: str | None) -> tuple[str, ...]:
    """`preprocess,argmax` → both, in this order; BadInput for anything else."""
    known = ("preprocess", "argmax")
    found = [] if text is None else [part.strip() for part in text.split(",")]
    for part in found:
        if part not in known:
            raise BadInput(f"--embed {part!r}: choose {', '.join(known)}, or both")
    return tuple(part for part in known if part in found)


def profile_of(text: str | None) -> Profile | None:
    """`1x3x90x120,1x3x180x240,4x3x360x480` → the profile; BadInput for anything else."""
    if text is None:
        return None
    from pydantic import ValidationError

    from datac.documents.profile import Profile
    from datac.documents.sentences import first_problem

    parts = [sizes_of(part.strip(), 4) for part in text.split(",")]
    wrong = None
    if len(parts) != 3 or None in parts:
        wrong = f"it is not MIN,OPT,MAX with each NxCxHxW and sizes from 1 to {LARGEST_SIZE}"
    else:
        try:
            return Profile.model_validate(dict(zip(("min", "opt", "max"), parts, strict=True)))
        except ValidationError as error:
            wrong = first_problem(error, Profile)
    raise BadInput(f"--profile {text!r}: {wrong}; write it as 1x3x90x120,1x3x180x240,4x3x360x480")


SECTIONS = {
    "The network": NETWORK,
    "How engines are made": (
        "height_width",
        "profile",
        "embed",
        "rewrites",
        "plans",
        "tune",
        "tune_seconds",
        "refittable",
        "refit",
    ),
    "Below float32": ("calibration", "calibration_samples", "keep", "max_drop"),
    "How they are run": ("threads", "device", "bench_seconds", "table"),
}


EMITTING = {*NETWORK, "source", "emit_only", "weights", "data", "seed", "out", "debug"}
"""What `--emit-only` can be given."""


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.argument("source", metavar="GENOTYPE|BUILD")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="onnx, openvino, trt, trt-rtx or torch, may be given several times; auto for all that "
    "run here.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    help="Of the engines; may be given several times.  [default: f32; with auto, all there are]",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="CHILD|FILE",
    help="A folder that datac train wrote, or a safetensors file. Default: drawn from the seed.",
)
@click.option("--data", metavar="DATASET", help="Measure the metric of every engine on this data.")
@click.option("--split", help="Which split of the data.  [default: val]")
@click.option("--samples", type=click.IntRange(min=1), help="At most so many samples of it.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: build]")
@network_options
@click.option(
    "--height-width",
    type=click.Choice(["fixed", "dynamic"]),
    help="Engines of one size, or open in batch, height and width.  [default: fixed]",
)
@click.option(
    "--profile",
    metavar="MIN,OPT,MAX",
    callback=lambda _context, _option, text: profile_of(text),
    help="Engines open from MIN to MAX and tuned to OPT, each NxCxHxW; judged and timed at all "
    "three.",
)
@click.option(
    "--embed",
    callback=lambda _context, _option, text: parts_of(text),
    metavar="PARTS",
    help="In every engine but torch's: preprocess (uint8 images in), argmax (class numbers out), "
    "or preprocess,argmax.",
)
@click.option(
    "--rewrite",
    "rewrites",
    multiple=True,
    metavar="NAME",
    help="How each engine's own model is rewritten, or none; several times for several. "
    "[default: the target's own plan]",
)
@click.option(
    "--tune",
    is_flag=True,
    help="Find each engine's plan by measuring on this machine; plan.json beside it has it.",
)
@click.option(
    "--tune-seconds",
    type=Seconds(1),
    default=60.0,
    show_default=True,
    help="With --tune: for each engine.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A latency table of this machine and as many threads; the report says what it predicts "
    "beside what is timed. For engines of one size by the default plan.",
)
@click.option(
    "--plan",
    "plans",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A plan.json to make its engine by, without measuring; several times for several.",
)
@click.option(
    "--refittable", is_flag=True, help="Engines that --refit can give new weights: trt alone."
)
@click.option(
    "--refit",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="BUILD",
    help="Give the engines of this build of the same genotype the new weights: trt alone.",
)
@threads_option
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the torch and onnx engines run.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    default=0,
    show_default=True,
    help="For weights and inputs that nothing else gives.",
)
@calibration_options
@click.option(
    "--emit-only",
    is_flag=True,
    help="Write the ONNX file alone, checked but neither built nor run; --out is its name.",
)
@click.option(
    "--bench-seconds",
    type=Seconds(0),
    default=10.0,
    show_default=True,
    help="Time for the latency of all engines together; 0 leaves it out.",
)
@max_drop_option
def compile_(source: str, height_width: str | None, *, emit_only: bool, **values: Any) -> ExitCode:
    """Make standalone PyTorch, ONNX and engine files; check and time them.

    \b
    datac compile genotype.json --weights child --data shapes --target onnx --target openvino
    datac compile data-m7 --network imagenet --target onnx
    datac compile build --target trt
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.compile_steps import Inputs, run_compile, run_emit

    if emit_only:
        require_only(EMITTING, "--emit-only builds no engine")
    if height_width == "fixed" and values["profile"] is not None:
        raise BadInput("--profile is for engines of open sizes; leave out --height-width fixed")
    from datac.cli.usable_table import usable_table
    from datac.documents.engine_plan import EnginePlan
    from datac.documents.read import read_json
    from exporters.default_plan import chosen

    if values["table"] is not None:
        values["table"] = usable_table(values["table"], foreign=False)
    values["plans"] = tuple(read_json(path, EnginePlan) for path in values["plans"])
    if not values.pop("tune"):
        if is_given("tune_seconds"):
            raise BadInput("--tune-seconds is for --tune; give it too, or leave both out")
        values["tune_seconds"] = 0.0
    words = values.pop("rewrites")
    if words and values["tune_seconds"]:
        raise BadInput("--tune chooses the rewrites itself; leave out --rewrite")
    values["rewrites"] = chosen(words) if words else None
    names = ("weights", "data", "split", "samples", "network_options", "calibration_options")
    inputs = Inputs(source, *(values.pop(name) for name in names))
    if emit_only:
        return run_emit(inputs, values["out"], values["seed"])
    if not values["targets"]:
        raise BadInput(
            "no --target was given; choose onnx, openvino, trt, trt-rtx, torch or auto, or "
            "--emit-only for the ONNX file alone"
        )
    _check_calibration(values["targets"], values["precisions"])
    return run_compile(inputs, dynamic=height_width == "dynamic", **values)


def _check_calibration(targets: tuple[str, ...], precisions: tuple[str, ...]) -> None:
    """BadInput where int8 is spoken of and none can be made."""
    if "int8" in precisions or ("auto" in targets and not precisions):
        return
    for name in ("calibration", "calibration_samples", "keep"):
        if is_given(name):
            option = f"--{name.replace('_', '-')}"
            raise BadInput(f"{option} is for engines in int8; give --precision int8 with it")
