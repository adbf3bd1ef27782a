"""`datac derive`: how sure a search is of its genotype, and what else was close.

datac derive run
datac derive run --top 20 --out candidates
datac derive run --json
"""

from pathlib import Path

import click

MOST_GENOTYPES = 1000
"""Each is a file. Of a flat distribution there are billions, one no better than the other."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--top",
    type=click.IntRange(1, MOST_GENOTYPES),
    default=5,
    show_default=True,
    metavar="N",
    help="How many genotypes to write, at most.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where to.  [default: RUN/top]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the document.")
def derive(run: Path, top: int, out: Path | None, as_json: bool) -> None:
    """Say how sure a finished search is of its genotype, and write the most probable ones.

    The first is the search's own. The verdict, decided or not, is no gate: the exit code is 0.

    \b
    datac derive run
    datac derive run --top 20 --json
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.derive_text import print_derivation
    from searcher.derivation_folder import write_derivation

    folder = run / "top" if out is None else out
    derivation = write_derivation(run, top, folder)
    if as_json:
        click.echo(derivation.to_json(), nl=False)
    else:
        print_derivation(derivation, folder)
