"""`datac report FOLDER`: the page of a build or of a run."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write FOLDER/report.html from what stands in FOLDER, a build or a run, and print its path.

    \b
    datac report build
    datac report run
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.report.page import write_page

    click.echo(write_page(folder))
