"""`datac profile`: what each cell, node and path of an engine costs, by its runtime's own word."""

from pathlib import Path
from typing import cast

import click

from datac.cli.options import POSITIVE, threads_option
from datac.exit_codes import ExitCode


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--engine", metavar="NAME", help="onnx-f32, say.  [default: the first that can]")
@click.option(
    "--by",
    type=click.Choice(["genotype", "cell", "node", "path", "kernel"]),
    default="genotype",
    show_default=True,
    help="What the table adds up; genotype: a path in all cells of its kind.",
)
@click.option("--calls", type=POSITIVE, default=50, show_default=True, help="Calls to profile.")
@click.option("--top", type=POSITIVE, default=20, show_default=True, help="Rows of the table.")
@threads_option
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write every kernel with its parts and times.",
)
def profile(
    build: Path,
    engine: str | None,
    by: str,
    calls: int,
    top: int,
    threads: int | None,
    json_file: Path | None,
) -> ExitCode:
    """Price every path: the runtime's profile by kernel, laid over the genotype.

    \b
    datac profile build --engine onnx-f32 --by cell --threads 1
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.compile_steps import command_line
    from datac.cli.profile_table import profile_table
    from datac.cli.progress import progress_line
    from datac.cli.terminal import output
    from datac.documents.layer_profile import LayerProfile
    from datac.documents.read import check_replaceable_file
    from datac.output_folder import check_writable_file, write_beside
    from datac.report.layer_rows import By
    from exporters.profile import profile as run_profile

    if json_file is not None:
        check_writable_file(json_file)
        check_replaceable_file(json_file, LayerProfile)
    with progress_line() as show:
        found = run_profile(
            build,
            engine=engine,
            calls=calls,
            threads=threads,
            command=command_line(),
            progress=show,
        )
    if json_file is not None:
        write_beside(json_file, found.to_json())
    output().print(profile_table(found, cast("By", by), top))
    return ExitCode.PASS
