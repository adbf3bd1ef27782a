"""`datac faults`: the gate, tried on faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from datac.cli.options import NetworkOptions, network_options
from datac.errors import BadInput
from datac.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Collection

    from exporters.faults.observe import Observation

TRIED = ("f32", "tf32", "f16", "bf16")


@click.command()
@click.argument("genotype", metavar="GENOTYPE")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="CHILD|FILE",
    help="A folder that datac train wrote, or a safetensors file. Default: drawn from the seed.",
)
@network_options
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(TRIED),
    multiple=True,
    default=["f32", "f16"],
    show_default=True,
    help="Of the arithmetic that faults are injected into; several times for several.",
)
@click.option(
    "--fault",
    "names",
    multiple=True,
    metavar="NAME",
    help='These alone, "stale weight", say.  [default: all]',
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    default=0,
    show_default=True,
    help="For weights, inputs and the places of the faults.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every run as a line of JSON.")
def faults(
    genotype: str,
    weights: Path | None,
    network_options: NetworkOptions,
    precisions: tuple[str, ...],
    names: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> ExitCode:
    """Inject faults into a network one by one, and say which the gate catches, and where.

    Healthy runs are tried too: none may raise an alarm. Answers 1 where the gate, all of it
    together, misses a fault that changes the function, or alarms on a healthy run.

    \b
    datac faults data-m7 --channels 8 --cells 5
    datac faults genotype.json --weights child/weights.safetensors --precision bf16
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    import json

    from datac.cli.faults_table import score_table
    from datac.cli.progress import progress_line
    from datac.cli.terminal import output
    from exporters.faults import resolve
    from exporters.faults.judges import scores
    from exporters.faults.trial import SHIPPED, try_gate

    chosen = resolve(names)
    subject = _subject(genotype, weights, network_options, seed)
    with progress_line() as show:
        seen = list(try_gate(subject, precisions, faults=chosen, seed=seed, progress=show))
    found = scores(seen, SHIPPED)
    if as_json:
        for observation in seen:
            click.echo(json.dumps(observation.to_dict()))
    else:
        output().print(score_table(found))
        for line in _mistakes(seen):
            click.echo(line)
    _require_tried(names, seen)
    wrong = any(
        score.caught < score.injected or score.false_alarms
        for (_, judge), score in found.items()
        if judge == "together"
    )
    return ExitCode.GATE_FAILED if wrong else ExitCode.PASS


def _subject(genotype: str, weights: Path | None, options: NetworkOptions, seed: int):  # type: ignore[no-untyped-def]
    import numpy as np

    from compiler.lower import lower
    from compiler.weights import read_weights_file
    from datac.cli.compile_steps import with_weights
    from datac.cli.options import network_from
    from datac.documents.read import read_genotype
    from exporters.canonical import bound_graph
    from exporters.faults.observe import Subject

    read = read_genotype(genotype)
    if weights is not None:
        read, weights = with_weights(read, weights)
    network = network_from(options, read)
    if weights is None:
        from exporters.initialise import initialise

        graph = lower(read, network)
        initialise(graph, network.input, seed)
    else:
        graph = bound_graph(read, network, read_weights_file(weights), str(weights))
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((2, *network.input)).astype(np.float32)
    return Subject(genotype, read, network, graph, x)


def _require_tried(names: Collection[str], seen: list[Observation]) -> None:
    """BadInput for a fault that was named and of which nothing can be said."""
    from exporters.faults.judges import changes

    tried = {
        observation.fault for observation in seen if observation.fault and changes(observation)
    }
    for name in names:
        if name not in tried:
            raise BadInput(
                f'the fault "{name}" has no place in this network in that precision, or changes '
                "nothing there; choose another --precision, --seed or network"
            )


def _mistakes(seen: list[Observation]) -> list[str]:
    """A line for each fault that all judges together missed, or healthy run that alarmed."""
    from exporters.faults.judges import changes, opinions
    from exporters.faults.trial import SHIPPED

    lines = []
    for observation in seen:
        alarm = opinions(observation, SHIPPED)["together"].alarm
        if observation.fault is None and alarm:
            lines.append(f"false alarm: {observation.variation}")
        elif observation.fault is not None and changes(observation) and not alarm:
            lines.append(f"missed: {observation.fault} at {observation.place}")
    return lines
