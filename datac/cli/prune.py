"""`datac prune`: the network without some of its paths."""

from pathlib import Path

import click

from datac.exit_codes import ExitCode


@click.command()
@click.argument("source", metavar="BUILD|CHILD", type=click.Path(path_type=Path))
@click.option(
    "--drop",
    multiple=True,
    required=True,
    metavar="PATH",
    help="What goes, in every cell of its kind: normal/node2/path0; several times for several.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("pruned"),
    show_default=True,
    help="Folder to write.",
)
def prune(source: Path, drop: tuple[str, ...], out: Path) -> ExitCode:
    """Leave paths out, and keep the weights of the rest.

    \b
    datac prune build --drop normal/node2/path0 --out smaller
    datac compile smaller/genotype.json --weights smaller --target onnx
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.terminal import output
    from datac.documents.sentences import signed
    from exporters.prune import prune as run_prune

    found = run_prune(source, drop, out)
    console = output()
    for place, path in found.left_out.items():
        console.print(f"left out {place}: {path.operation} of input {path.input}", markup=False)
    for title, (before, after) in (
        ("parameters", found.parameters),
        ("multiply-adds", found.multiply_adds),
    ):
        change = signed(after / before - 1, ".1%")
        console.print(f"{title}: {before:,} to {after:,} ({change})", markup=False)
    console.print(
        f"wrote {out}; datac compile {out / 'genotype.json'} --weights {out} makes engines of it",
        soft_wrap=True,
        markup=False,
    )
    return ExitCode.PASS
