"""`datac reduce`: the place that is wrong, as a model small enough for a bug report."""

from pathlib import Path

import click

from datac.cli.options import threads_option


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--engine", metavar="NAME", help="Of which engine, e.g. onnx-f32.  [default: first]")
@click.option(
    "--place",
    metavar="PLACE",
    help="Which, e.g. cell2/node3/path1.  [default: the first that is wrong]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reduced"),
    show_default=True,
    help="Folder to write.",
)
@threads_option
def reduce(
    build: Path, engine: str | None, place: str | None, out: Path, threads: int | None
) -> None:
    """Cut one place out of an engine: a small ONNX, its inputs, what it should answer.

    \b
    datac reduce build
    datac reduce build --engine openvino-bf16 --place cell0/node2
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from exporters.reduce import reduce as run_reduce

    found = run_reduce(build, out, engine=engine, place=place, threads=threads)
    click.echo(found.sentence)
    click.echo(f"wrote {out}")
