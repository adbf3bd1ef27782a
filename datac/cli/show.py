"""`datac show`: a genotype, and the size of the network that it makes.

datac show data-m7
datac show genotype.json --network imagenet --json
datac show --operations
"""

from typing import TYPE_CHECKING

import click

from datac.cli.options import network_options

if TYPE_CHECKING:
    from datac.cli.options import NetworkOptions


@click.command()
@click.argument("genotype", required=False)
@network_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--operations", is_flag=True, help="List the operations that a genotype may name.")
@click.option(
    "--cost",
    type=click.Choice(["cell", "node", "path"]),
    help="Also what each costs: parameters, multiply-adds, bytes moved; and the peak memory.",
)
@click.option("--graph", "with_graph", is_flag=True, help="Also print the network, a node a line.")
def show(
    genotype: str | None,
    network_options: "NetworkOptions",
    as_json: bool,
    operations: bool,
    with_graph: bool,
    cost: str | None,
) -> None:
    """Show cells, sizes, parameters and multiply-adds of a genotype.

    GENOTYPE is a file (JSON or a text form), a published name such as data-m7, or `-`.
    """
    from datac.cli.show_text import as_content, print_content, print_operations
    from datac.errors import BadInput

    if operations and genotype is not None:
        raise BadInput("both a GENOTYPE and --operations were given; choose one")
    if operations:
        print_operations(as_json=as_json)
    elif genotype is None:
        raise BadInput("nothing to show; name a GENOTYPE, such as data-m7, or give --operations")
    else:
        content = as_content(genotype, network_options, with_graph=with_graph, cost=cost)
        print_content(genotype, content, as_json=as_json)
