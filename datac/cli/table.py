"""`datac table`: what every candidate costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from datac.cli.options import POSITIVE, Seconds, network_options, threads_option
from datac.exit_codes import ExitCode

if TYPE_CHECKING:
    from datac.cli.options import NetworkOptions
    from datac.documents.latency_table import LatencyTable
    from exporters.latency_fit import Residual


@click.command()
@click.option("--target", required=True, metavar="TARGET", help="onnx, openvino, trt or trt-rtx.")
@network_options
@click.option("--data", metavar="DATASET", help="Whose classes and task the network has.")
@click.option("--nodes", type=POSITIVE, default=4, show_default=True, help="Nodes of a cell.")
@click.option("--candidates", metavar="NAMES", help="What a path may be.  [default: the search's]")
@click.option(
    "--fitted",
    type=click.IntRange(min=8),
    default=24,
    show_default=True,
    help="Random genotypes that the sums are fitted to.",
)
@click.option(
    "--held-out",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Others that the prediction is tried on.",
)
@click.option(
    "--seconds",
    type=Seconds(0.1),
    default=10.0,
    show_default=True,
    help="For the candidates of a place; whole networks take six times as long together.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1, max=3650),
    default=90,
    show_default=True,
    help="Until the table expires.",
)
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, help="Of the genotypes."
)
@threads_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("table.json"),
    show_default=True,
    help="File to write.",
)
def table(
    target: str,
    network_options: NetworkOptions,
    data: str | None,
    nodes: int,
    candidates: str | None,
    out: Path,
    **settings: int | float | None,
) -> ExitCode:
    """Measure a latency table of this machine, for datac search --max-latency-ms.

    \b
    datac table --target onnx --network cifar --channels 8 --cells 6 --classes 10
    datac search --data ./cifar-10 --table table.json --max-latency-ms 5

    The network has to be the child's of that search. Where a size differs, the search says which,
    and the command that measures the table that it needs.
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from pydantic import ValidationError

    from compiler.candidates import SEARCH_SPACE
    from compiler.lower import check_operations
    from datac.cli.compile_steps import command_line
    from datac.cli.options import network_from
    from datac.cli.progress import progress_line
    from datac.datasets import open_dataset
    from datac.documents.genotype import Cell, Genotype, Node
    from datac.documents.latency_table import LatencyTable
    from datac.documents.read import check_replaceable_file
    from datac.documents.search_space import SearchSpace
    from datac.documents.sentences import first_problem
    from datac.errors import BadInput
    from datac.output_folder import check_writable_file, write_beside
    from exporters.latency_table import Course, make_table

    check_writable_file(out)
    check_replaceable_file(out, LatencyTable)
    names = SEARCH_SPACE if candidates is None else tuple(candidates.split(","))
    try:
        space = SearchSpace(candidates=names, nodes=nodes)
    except ValidationError as error:
        raise BadInput(f"--candidates {candidates}: {first_problem(error, SearchSpace)}") from error
    every = Cell(nodes=(Node(paths=space.paths(2)),), output=(2,))
    check_operations(Genotype(cells={"normal": every, "reduction": every}))
    network = network_from(network_options, None, None if data is None else open_dataset(data))
    unfinished = _unfinished(out)
    with progress_line() as show:
        course = Course(
            target,
            network,
            space,
            progress=show,
            command=command_line(),
            unfinished=unfinished,
            **settings,  # type: ignore[arg-type]
        )
        found, residual = make_table(course)
    write_beside(out, found.to_json())
    if unfinished is not None:
        unfinished.unlink(missing_ok=True)
    _print(found, residual, out)
    return ExitCode.PASS if residual.small else ExitCode.INCONCLUSIVE


def _unfinished(out: Path) -> Path | None:
    """Beside the table: what is measured so far. None where the table goes to no file."""
    from datac.documents.read import check_replaceable_file
    from datac.documents.unfinished_table import UnfinishedTable
    from datac.output_folder import check_writable_file

    if out.exists() and not out.is_file():
        return None
    beside = out.with_name(f"{out.name}.unfinished")
    check_writable_file(beside)
    check_replaceable_file(beside, UnfinishedTable)
    return beside


def _print(found: LatencyTable, residual: Residual, out: Path) -> None:
    from datac.cli.terminal import output
    from datac.documents.sentences import counted
    from exporters.latency_fit import LARGEST_MEAN_ERROR

    (remainder,) = found.remainders
    genotypes = counted(remainder.held_out, "genotype")
    lines = [
        f"{counted(len(found.entries), 'entry', 'entries')}, remainder "
        f"{remainder.remainder_ms:.3f} ms; on {genotypes} that it has not seen the prediction is "
        f"off by {residual.mean_error:.1%} on average, {residual.largest_error:.1%} at most"
    ]
    if not residual.small:
        lines.append(
            f"inconclusive: it is off by more than {LARGEST_MEAN_ERROR:.0%} on average, which is "
            "added to every bound; measure again on an idle machine, or for longer by --seconds"
        )
    lines.append(f"wrote {out}")
    output().print("\n".join(lines), soft_wrap=True, markup=False)
