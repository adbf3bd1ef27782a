"""`datac selftest`: what this machine makes of the published cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from datac.cli.options import Seconds
from datac.documents.precision import PRECISIONS
from datac.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from datac.documents.precision import Precision
    from datac.documents.selftest import SelfTest, Tested

NETWORKS = ("cifar", "segmentation")


@click.command()
@click.option("--gpu", is_flag=True, help="On an NVIDIA GPU, also what could run on the CPU.")
@click.option("--cell", "cells", multiple=True, help="These alone.  [default: all published]")
@click.option(
    "--network",
    "networks",
    type=click.Choice(NETWORKS),
    multiple=True,
    help="These alone.  [default: both]",
)
@click.option("--target", "targets", multiple=True, help="These alone.  [default: all]")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    help="These alone.  [default: all]",
)
@click.option(
    "--seconds",
    type=Seconds(0.1),
    default=2.0,
    show_default=True,
    help="Of latency, for each cell and for each engine and batch.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("selftest.json"),
    show_default=True,
    help="File to write; cells that it holds already are not tried again.",
)
def selftest(
    gpu: bool,
    cells: tuple[str, ...],
    networks: tuple[str, ...],
    targets: tuple[str, ...],
    precisions: tuple[Precision, ...],
    seconds: float,
    out: Path,
) -> ExitCode:
    """Build, load, check and time the published cells in every precision, on all targets.

    \b
    datac selftest --gpu
    datac selftest --cell data-m4 --target onnx
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.progress import progress_line
    from datac.cli.terminal import output
    from datac.documents.read import read_json
    from datac.documents.selftest import SelfTest
    from datac.output_folder import check_writable_file, write_beside
    from datac.published import NAMES
    from exporters.selftest import Course, verdict
    from exporters.selftest import selftest as run_selftest

    check_writable_file(out)
    known = read_json(out, SelfTest) if out.exists() else None
    with progress_line() as show:
        course = Course(
            cells or NAMES, targets, precisions, networks or NETWORKS, gpu, seconds, show
        )
        found = run_selftest(course, known, save=lambda state: write_beside(out, state.to_json()))
    write_beside(out, found.to_json())
    console = output()
    console.print(_table(found))
    for tested in _worth_saying(found.tested):
        result = tested.result
        console.print(
            f"{tested.cell} {tested.network} {result.target} {result.precision}: {result.reason}",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"{found.gpu}; wrote {out}", markup=False, soft_wrap=True)
    decided = verdict(found)
    codes = {"pass": ExitCode.PASS, "fail": ExitCode.GATE_FAILED}
    return codes.get(decided, ExitCode.PLATFORM_MISSING)


def _worth_saying(tested: Iterable[Tested]) -> list[Tested]:
    """Each failure; of what is missing one of each kind."""
    said: set[str] = set()
    found = []
    for one in tested:
        reason = one.result.reason
        if reason is None or (one.result.verdict != "fail" and reason in said):
            continue
        said.add(reason)
        found.append(one)
    return found


def _table(found: SelfTest) -> RenderableType:
    """A row for each engine of each kind of network, over all cells."""
    import statistics

    from rich.table import Table

    titles = ("network", "engine", "pass", "fail", "not run", "batch 1", "batch 8", "MB")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(title, justify="left" if title in titles[:2] else "right")
    groups: dict[tuple[str, str], list[Tested]] = {}
    for tested in found.tested:
        name = f"{tested.result.target} {tested.result.precision}"
        groups.setdefault((tested.network, name), []).append(tested)
    for (network, name), members in groups.items():
        verdicts = [member.result.verdict for member in members]
        passed, failed = verdicts.count("pass"), verdicts.count("fail")
        speeds = [
            [t.per_second for m in members for t in m.throughput if t.batch == batch]
            for batch in (1, 8)
        ]
        memory = [t.memory_bytes for m in members for t in m.throughput if t.memory_bytes]
        cells = [f"{statistics.median(filter(None, s)):.0f}/s" if any(s) else "" for s in speeds]
        megabytes = f"{max(memory) / 1e6:.0f}" if memory else ""
        rest = len(members) - passed - failed
        table.add_row(network, name, str(passed), str(failed), str(rest), *cells, megabytes)
    return table
