"""`datac check`: the gate again, for CI."""

from pathlib import Path

import click

from datac.cli.options import threads_option
from datac.exit_codes import ExitCode


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--data", metavar="DATASET", help="Measure the metric of every engine on this data.")
@click.option("--split", help="Which split of the data.  [default: val]")
@click.option("--samples", type=click.IntRange(min=1), help="At most so many samples of it.")
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check(
    build: Path,
    data: str | None,
    split: str | None,
    samples: int | None,
    threads: int | None,
    as_json: bool,
) -> ExitCode:
    """Judge a build again: structure, numbers and, with data, the task. Writes nothing.

    \b
    datac check build
    datac check build --data shapes --json
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.compile_steps import Inputs, command_line, exit_code
    from datac.cli.options import NetworkOptions
    from datac.cli.progress import progress_line
    from datac.cli.terminal import output
    from datac.report.summary import summarise
    from exporters.build_folder import read_manifest
    from exporters.check import check as run_check

    inputs = Inputs(str(build), None, data, split, samples, NetworkOptions())
    with progress_line() as show:
        labelled = inputs.labelled(read_manifest(build).network)
        report = run_check(build, labelled, threads=threads, command=command_line(), progress=show)
    if as_json:
        click.echo(report.to_json(), nl=False)
    else:
        output().print(summarise(report))
    return exit_code(report)
