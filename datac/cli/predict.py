"""`datac predict`: images through an engine of a build."""

from pathlib import Path
from typing import Any

import click

from datac.cli.options import threads_option, trust_option
from datac.exit_codes import ExitCode


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE|FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("predictions"),
    show_default=True,
    help="Folder to write.",
)
@click.option("--engine", metavar="NAME", help="Which, e.g. openvino-bf16.  [default: first]")
@threads_option
@trust_option
def predict(build: Path, images: Path, out: Path, **how: Any) -> ExitCode:
    """Write a mask for every image, or the label of each, and say how long one takes.

    Files that end like an image and are none are named, and answered with 2 once the others are
    done.

    \b
    datac predict build street.png
    datac predict build photos --engine openvino-bf16 --out masks
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.progress import progress_line
    from datac.documents.sentences import counted
    from exporters.predict import predict as run_predict

    with progress_line() as show:
        done = run_predict(build, images, out, progress=show, **how)
    click.echo(
        f"{counted(done.images, 'image')} by {done.engine}: {done.whole_ms:.1f} ms from file to "
        f"file, {done.engine_ms:.1f} ms of it in the engine"
    )
    click.echo(f"wrote {out}")
    for sentence in done.refused:
        click.echo(f"datac: {sentence}", err=True)
    return ExitCode.BAD_INPUT if done.refused else ExitCode.PASS
