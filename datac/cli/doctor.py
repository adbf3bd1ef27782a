"""`datac doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from datac.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from datac.documents.diagnosis import Diagnosis


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(as_json: bool) -> ExitCode:
    """Which targets this machine can build and run, and what would make it able to.

    A target that is not here is no failure: the exit code is 0. It is 3 where something is
    broken, such as two packages that overwrite each other.

    \b
    datac doctor
    datac doctor --json
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from exporters.doctor import doctor as examine

    diagnosis = examine()
    if as_json:
        click.echo(diagnosis.to_json(), nl=False)
    else:
        _show(diagnosis)
    return ExitCode.PLATFORM_MISSING if diagnosis.problems else ExitCode.PASS


def _show(diagnosis: Diagnosis) -> None:
    from rich.console import Console

    from datac.documents.sentences import counted

    console = Console(highlight=False)
    console.print(
        f"Python {diagnosis.python}, {counted(diagnosis.cores, 'core')}, {diagnosis.gpu}",
        markup=False,
    )
    console.print(f"datac {diagnosis.datac}, installed in {diagnosis.installation}", markup=False)
    console.print(_targets(diagnosis))
    console.print(_packages(diagnosis))
    for problem in diagnosis.problems:
        console.print(f"Broken: {problem}", markup=False, style="bold red")


def _targets(diagnosis: Diagnosis) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("target", "builds", "runs", "what is missing", show_lines=True)
    for target in diagnosis.targets:
        sentences = dict.fromkeys(filter(None, (target.to_build, target.to_run)))
        table.add_row(
            target.target,
            "yes" if target.can_build else "no",
            "yes" if target.can_run else "no",
            # As text: in rich's markup datac[trt] would be a colour.
            Text("\n".join(sentences)),
        )
    return table


def _packages(diagnosis: Diagnosis) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("package", "version", "comes with")
    for package in diagnosis.packages:
        extra = "datac" if package.extra is None else f"datac[{package.extra}]"
        table.add_row(package.name, package.version or "not installed", Text(extra))
    return table
