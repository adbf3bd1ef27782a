"""`datac bench`: the latency of a build's engines again."""

from pathlib import Path

import click

from datac.cli.options import Seconds, threads_option, trust_option
from datac.exit_codes import ExitCode


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--seconds",
    type=Seconds(0.1),
    default=20.0,
    show_default=True,
    help="Time for all engines together.",
)
@threads_option
@trust_option
@click.option("--json", "as_json", is_flag=True, help="Print the latencies as JSON.")
def bench(build: Path, seconds: float, threads: int | None, trust: bool, as_json: bool) -> ExitCode:
    """Time a build's engines in interleaved rounds. Writes nothing.

    \b
    datac bench build --threads 1
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.bench_table import latencies_as_json, latency_table
    from datac.cli.progress import progress_line
    from datac.cli.terminal import output
    from exporters.bench import bench as run_bench

    with progress_line() as show:
        timed = run_bench(build, seconds=seconds, trust=trust, threads=threads, progress=show)
    for name, reason in timed.skipped.items():
        click.echo(f"{name} was not timed: {reason}", err=True)
    if as_json:
        click.echo(latencies_as_json(timed.latencies))
    else:
        output().print(latency_table(timed.latencies))
    conclusive = all(latency.conclusive for latency in timed.latencies.values())
    return ExitCode.PASS if conclusive else ExitCode.INCONCLUSIVE
