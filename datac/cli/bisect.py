"""`datac bisect`: which parts of a network must stay float32 in an int8 engine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datac.cli.options import (
    CalibrationOptions,
    calibration_options,
    max_drop_option,
    threads_option,
)
from datac.errors import BadInput
from datac.exit_codes import ExitCode

if TYPE_CHECKING:
    from datac.documents.bisection import Bisection, Trial


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="TARGET", help="onnx or openvino.")
@click.option("--data", required=True, metavar="DATASET", help="What the metric is measured on.")
@click.option("--split", help="Which split of the data.  [default: val]")
@click.option("--samples", type=click.IntRange(min=1), help="At most so many samples of it.")
@calibration_options
@max_drop_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bisection.json"),
    show_default=True,
    help="File to write; trials that it holds already are not built again.",
)
@threads_option
def bisect(
    build: Path,
    target: str,
    data: str,
    calibration_options: CalibrationOptions,
    out: Path,
    max_drop: float | None,
    threads: int | None,
    **which: Any,
) -> ExitCode:
    """Find the fewest parts that int8 must leave alone, so that the metric holds.

    \b
    datac bisect build --target openvino --data ./CamVid --max-drop 0.005
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.compile_steps import Inputs
    from datac.cli.progress import progress_line
    from datac.output_folder import check_writable_file, write_beside
    from exporters.bisect import Setting
    from exporters.bisect import bisect as run_bisect
    from exporters.build_folder import read_manifest
    from exporters.control import MAX_DROP

    if calibration_options.keep:
        raise BadInput("what to keep is what datac bisect finds; leave --keep out")
    check_writable_file(out)
    manifest = read_manifest(build)
    known = _known(out, target, manifest.genotype_hash)
    inputs = Inputs(str(build), None, data, **which, calibration=calibration_options)
    network = manifest.network
    labelled, calibration = inputs.labelled(network), inputs.calibrating(network)
    assert labelled is not None
    assert calibration is not None
    bound = MAX_DROP if max_drop is None else max_drop
    with progress_line() as show:
        setting = Setting(target, labelled, calibration, bound, threads, show)
        found = run_bisect(
            build,
            setting,
            known,
            save=lambda state: write_beside(out, state.to_json()),
        )
    write_beside(out, found.to_json())
    words = ["datac", "compile", str(build), "--target", target, "--precision", "int8"]
    words += ["--data", data, "--max-drop", f"{bound:g}"]
    words += [word for key, value in which.items() if value for word in (f"--{key}", str(value))]
    words += ["--calibration", calibration_options.calibration]
    words += ["--calibration-samples", str(calibration_options.calibration_samples)]
    _print(found, words, out)
    all_of_it = found.kept is not None and len(found.kept) == len(found.parts)
    return ExitCode.GATE_FAILED if all_of_it else ExitCode.PASS


def _known(out: Path, target: str, genotype_hash: str) -> tuple[Trial, ...]:
    """The trials of an earlier search for the same target and genotype."""
    from datac.documents.bisection import Bisection
    from datac.documents.read import read_json

    if not out.exists():
        return ()
    known = read_json(out, Bisection)
    if known.target != target:
        raise BadInput(f"{out} is of the target {known.target}; name another file by --out")
    if known.genotype_hash != genotype_hash:
        raise BadInput(f"{out} is of another genotype; name another file by --out")
    return known.trials


def _print(found: Bisection, compile_: list[str], out: Path) -> None:
    from rich.table import Table

    from datac.cli.terminal import output

    console = output()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("parts in float32", "metric", "drop", ""):
        table.add_column(title, justify="left" if not title else "right")
    table.add_row("all", f"{found.control:.4f}", "0", "the control")
    for trial in found.trials:
        within = "within" if trial.drop <= found.max_drop else "too much"
        cells = (f"{trial.metric:.4f}", f"{trial.drop:.4f}", within)
        if trial.reason is not None:
            cells = ("", "", trial.reason)
        table.add_row(str(len(trial.kept)), *cells)
    console.print(table)
    assert found.kept is not None
    console.print(_sentence(found), soft_wrap=True)
    if len(found.kept) < len(found.parts):
        keep = [word for name in found.kept for word in ("--keep", name)]
        console.print(shlex.join([*compile_, *keep]), soft_wrap=True, markup=False)
    console.print(f"wrote {out}", soft_wrap=True, markup=False)


def _sentence(found: Bisection) -> str:
    assert found.kept is not None
    if not found.kept:
        return f"Everything may be int8: the metric falls by no more than {found.max_drop:g}."
    if len(found.kept) == len(found.parts):
        return (
            f"No part may be int8 with a drop of at most {found.max_drop:g}; allow more by "
            "--max-drop, try another --calibration, or ship f16 or bf16."
        )
    held = sum(part.share for part in found.parts if part.name in found.kept)
    return (
        f"{len(found.kept)} of {len(found.parts)} parts stay float32, with {held:.1%} of the "
        "multiply-adds:"
    )
