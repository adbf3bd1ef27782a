"""`datac ablate`: what each path is worth, by leaving it out."""

from __future__ import annotations

from pathlib import Path

import click

from datac.cli.options import Seconds, threads_option
from datac.errors import BadInput
from datac.exit_codes import ExitCode


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--engine", metavar="NAME", help="onnx-f32, say.  [default: the first that runs]")
@click.option("--data", metavar="DATASET", help="Measure the metric without each path on this.")
@click.option("--split", help="Which split of the data.  [default: val]")
@click.option("--samples", type=click.IntRange(min=1), help="At most so many samples of it.")
@click.option(
    "--seconds",
    type=Seconds(0.1),
    default=60.0,
    show_default=True,
    help="Time for the latency of all networks together.",
)
@threads_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("ablation.json"),
    show_default=True,
    help="File to write; the figure stands beside it, ending in .svg.",
)
def ablate(
    build: Path,
    engine: str | None,
    data: str | None,
    split: str | None,
    samples: int | None,
    seconds: float,
    threads: int | None,
    out: Path,
) -> ExitCode:
    """Leave out one path after the other: latency saved, outputs and metric changed.

    \b
    datac ablate build --data ./CamVid --threads 1
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.ablation_table import ablation_table
    from datac.cli.compile_steps import Inputs, command_line
    from datac.cli.progress import progress_line
    from datac.cli.terminal import output
    from datac.documents.ablation import Ablation
    from datac.documents.read import check_replaceable_file
    from datac.output_folder import check_writable_file, write_beside
    from datac.report.pareto import pareto_figure
    from exporters.ablate import Course
    from exporters.ablate import ablate as run_ablate
    from exporters.build_folder import read_manifest

    figure = out.with_suffix(".svg")
    if figure == out:
        raise BadInput(f"--out {out}: the figure goes there; give the table another ending")
    for path in (out, figure):
        check_writable_file(path)
    check_replaceable_file(out, Ablation)
    if figure.exists() and not out.exists():
        raise BadInput(f"{figure} is there without its {out}; remove it, or give another --out")
    labelled = Inputs(str(build), None, data, split, samples).labelled(read_manifest(build).network)
    with progress_line() as show:
        found = run_ablate(build, Course(engine, labelled, seconds, threads, show, command_line()))
    write_beside(out, found.to_json())
    write_beside(figure, str(pareto_figure(found)))
    console = output()
    console.print(ablation_table(found))
    console.print(f"wrote {out} and {figure}", soft_wrap=True, markup=False)
    return ExitCode.PASS
