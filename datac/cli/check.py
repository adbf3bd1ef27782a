"""`datac check`: the gate again, for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datac.cli.options import Finite, max_drop_option, threads_option, trust_option
from datac.documents.precision import FLOATING_POINT, Precision
from datac.errors import BadInput
from datac.exit_codes import ExitCode

if TYPE_CHECKING:
    from datac.documents.report import Report


@click.command()
@click.argument("build", required=False, metavar="BUILD|MODEL", type=click.Path(path_type=Path))
@click.option(
    "--genotype",
    metavar="FILE",
    help="Of a MODEL, an ONNX that something else wrote: what it is said to be.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="CHILD|FILE",
    help="Of a MODEL: the folder that datac train wrote, or the safetensors file, that it was made "
    "from.",
)
@click.option("--data", metavar="DATASET", help="Measure the metric of every engine on this data.")
@click.option("--split", help="Which split of the data.  [default: val]")
@click.option("--samples", type=click.IntRange(min=1), help="At most so many samples of it.")
@threads_option
@click.option(
    "--saved",
    type=click.Path(path_type=Path),
    metavar="REPORT",
    help="Judge the measurements of a report.json again, in the place of a build.",
)
@click.option(
    "--tolerance",
    type=Finite(min=0, min_open=True),
    metavar="FACTOR",
    help="With --saved: so many times as wide as the gate.  [default: 1]",
)
@click.option(
    "--save-inputs",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the reference's inputs for Polygraphy, and judge nothing.",
)
@click.option(
    "--save-outputs",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Likewise what float64 answers to them.",
)
@click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judge what Polygraphy's runners answered to these inputs, in the place of engines.",
)
@click.option(
    "--precision",
    type=click.Choice(FLOATING_POINT),
    help="With --outputs: what the runners computed in.  [default: f32]",
)
@max_drop_option
@trust_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--markdown", is_flag=True, help="Print it as Markdown, for a pull request.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write it as JUnit XML.",
)
def check(
    build: Path | None,
    saved: Path | None,
    tolerance: float | None,
    as_json: bool,
    markdown: bool,
    junit: Path | None,
    save_inputs: Path | None,
    save_outputs: Path | None,
    **measured: Any,
) -> ExitCode:
    """Judge a build again: structure, numbers and, with data, the task. The build is not changed.

    \b
    datac check build
    datac check build --data shapes --junit gate.xml
    datac check exported.onnx --genotype genotype.json --weights child/weights.safetensors
    datac check --saved build/report.json --tolerance 2
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.cli.compile_steps import exit_code

    if save_inputs is not None or save_outputs is not None:
        if measured["trust"]:
            raise BadInput("--trust is for the engines of a BUILD, and --save-inputs loads none")
        return _save(build, save_inputs, save_outputs)
    if as_json and markdown:
        raise BadInput("--json and --markdown are two forms of one answer; choose one")
    if junit is not None:
        from datac.documents.read import check_no_document
        from datac.output_folder import check_writable_file

        check_writable_file(junit)
        check_no_document(junit)
    trust = bool(measured.pop("trust"))
    if trust and (build is None or not build.is_dir() or measured["outputs"] is not None):
        raise BadInput("--trust is for the engines of a BUILD; nothing else is loaded unchecked")
    if saved is None:
        report = _of_file(build, tolerance, trust, **measured)
    elif build is not None or any(value is not None for value in measured.values()):
        raise BadInput("--saved runs nothing, so it takes no BUILD, --data or --threads")
    else:
        report = _of_report(saved, tolerance)
    _print(report, as_json, markdown)
    if junit is not None:
        from datac.output_folder import write_beside
        from datac.report.junit import junit as as_junit

        write_beside(junit, as_junit(report))
    return exit_code(report)


def _of_file(build: Path | None, tolerance: float | None, trust: bool, **measured: Any) -> Report:
    if build is None:
        raise BadInput("name a BUILD, or a report by --saved; datac check --help tells more")
    if tolerance is not None:
        raise BadInput("--tolerance judges a saved report; give --saved REPORT with it")
    outputs, precision = measured.pop("outputs"), measured.pop("precision")
    if outputs is not None:
        return _of_outputs(build, outputs, precision, **measured)
    if precision is not None:
        raise BadInput("--precision says what given --outputs were computed in; give them with it")
    genotype, weights = measured.pop("genotype"), measured.pop("weights")
    if genotype is not None and weights is not None:
        if measured.pop("max_drop") is not None:
            raise BadInput("--max-drop compares engines of a BUILD; a MODEL has none")
        return _of_model(build, genotype, weights, **measured)
    if genotype is not None or weights is not None:
        raise BadInput("an ONNX of another tool is checked with both --genotype and --weights")
    if build.is_file():
        raise BadInput(
            f"{build} is not a build but a file; to check an ONNX of another tool give --genotype "
            "and --weights with it"
        )
    return _of_build(build, trust, **measured)


def _of_build(
    build: Path,
    trust: bool,
    data: str | None,
    split: str | None,
    samples: int | None,
    threads: int | None,
    max_drop: float | None,
) -> Report:
    from datac.cli.compile_steps import Inputs, command_line
    from datac.cli.progress import progress_line
    from exporters.build_folder import read_manifest
    from exporters.check import check as run_check
    from exporters.control import MAX_DROP

    inputs = Inputs(str(build), None, data, split, samples)
    with progress_line() as show:
        return run_check(
            build,
            inputs.labelled(read_manifest(build).network),
            max_drop=MAX_DROP if max_drop is None else max_drop,
            trust=trust,
            threads=threads,
            command=command_line(),
            progress=show,
        )


def _of_model(
    model: Path,
    genotype: str,
    weights: Path,
    data: str | None,
    split: str | None,
    samples: int | None,
    threads: int | None,
) -> Report:
    from compiler.weights import read_weights_file
    from datac.cli.compile_steps import Inputs, command_line, with_weights
    from datac.cli.progress import progress_line
    from datac.documents.read import read_genotype
    from exporters.check_model import Claim, check_model

    read, file = with_weights(read_genotype(genotype), weights)
    if read.network is None:
        raise BadInput(
            f"{genotype} names no network; give the genotype.json of a RUN, a CHILD or a BUILD"
        )
    claim = Claim(read, read.network, read_weights_file(file), str(file))
    inputs = Inputs(str(model), None, data, split, samples)
    with progress_line() as show:
        return check_model(
            model,
            claim,
            inputs.labelled(read.network),
            threads=threads,
            command=command_line(),
            progress=show,
        )


def _save(build: Path | None, inputs: Path | None, outputs: Path | None) -> ExitCode:
    from datac.documents.read import check_no_document
    from datac.documents.sentences import counted
    from datac.output_folder import check_writable_file
    from exporters.given_outputs import save_reference

    if build is None:
        raise BadInput("name the BUILD whose inputs are to be saved")
    files = [path for path in (inputs, outputs) if path is not None]
    for path in files:
        check_writable_file(path)
        check_no_document(path)
    count = save_reference(build, inputs, outputs)
    for path in files:
        click.echo(f"wrote {counted(count, 'run')} to {path}")
    return ExitCode.PASS


def _of_outputs(build: Path, outputs: Path, precision: Precision | None, **others: Any) -> Report:
    from datac.cli.compile_steps import command_line
    from exporters.given_outputs import judge_outputs

    if any(value is not None for value in others.values()):
        raise BadInput("--outputs are judged as they are: no --data, --threads or --genotype")
    return judge_outputs(build, outputs, precision or "f32", command_line())


def _of_report(saved: Path, tolerance: float | None) -> Report:
    from datac.documents.read import read_json
    from datac.documents.report import Report
    from exporters.saved import judge_saved

    return judge_saved(read_json(saved, Report), 1.0 if tolerance is None else tolerance)


def _print(report: Report, as_json: bool, markdown: bool) -> None:
    if as_json:
        click.echo(report.to_json(), nl=False)
    elif markdown:
        from datac.report.markdown import markdown as as_markdown

        click.echo(as_markdown(report), nl=False)
    else:
        from datac.cli.terminal import output
        from datac.report.summary import summarise

        output().print(summarise(report))
