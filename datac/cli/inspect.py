"""`datac inspect`: what a file of a build is, from the file alone."""

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the genotype's document.")
def inspect(file: Path, as_json: bool) -> None:
    """Say what an ONNX or an engine is, and recover the genotype of an ONNX.

    \b
    datac inspect build/model.onnx
    datac inspect build/engines/trt-f16/engine.plan
    datac inspect model.onnx --json > genotype.json
    """  # noqa: D301 - \b is click's mark for lines that it must not join
    from datac.errors import BadInput
    from exporters.inspect_file import inspect_file

    found = inspect_file(file)
    if as_json:
        if found.genotype is None:
            raise BadInput(
                f"{file} describes an engine, which carries no genotype; look into the build's "
                "genotype.json"
            )
        click.echo(found.genotype.to_json(), nl=False)
        return
    width = max(map(len, found.facts))
    for key, value in found.facts.items():
        click.echo(f"{key:{width}}  {value}")
    if found.genotype is not None:
        click.echo(f"{'genotype':{width}}  from {found.source}; datac inspect --json prints it")
