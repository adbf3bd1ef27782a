"""What `datac show` says, as JSON and as text for a person."""

import inspect
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from datac.cli.options import NetworkOptions, network_from
from datac.documents.sentences import counted

if TYPE_CHECKING:
    from compiler.graph import Graph
    from compiler.ops import Cost

WIDTH = 100


DEPTHS = {"cell": 1, "node": 2, "path": 4}
"""Level of `--cost` → segments of a place's name."""


def as_content(
    spec: str, options: NetworkOptions, *, with_graph: bool = False, cost: str | None = None
) -> dict[str, Any]:
    """Everything about the genotype that `spec` names, in the keys of `--json`.

    `parameters` and `multiply_adds` count as published counts do: cells that no other reads, which
    the network leaves out, are in.
    """
    from compiler.lower import lower
    from compiler.text import print_graph
    from datac.documents.genotype import genotype_warnings
    from datac.documents.read import read_genotype

    genotype = read_genotype(spec)
    network = network_from(options, genotype)
    graph = lower(genotype, network, keep_unread=True)
    whole, size = graph.cost(), len(graph)
    graph.remove_dead()
    built = graph.cost() if len(graph) < size else whole
    content: dict[str, Any] = {
        "hash": genotype.hash,
        "parameters": whole.parameters,
        "multiply_adds": whole.multiply_adds,
        "warnings": [
            *genotype_warnings(genotype),
            *_unread(whole, built),
        ],
        "genotype": genotype.model_dump(mode="json", exclude_none=True),
        "network": network.model_dump(mode="json", exclude_none=True),
    }
    if cost is not None:
        content["cost"] = _cost(graph, DEPTHS[cost])
    if with_graph:
        content["graph"] = print_graph(graph)
    return content


def _cost(graph: "Graph", depth: int) -> dict[str, Any]:
    """Of one input through the network as it is built, node by node, nothing fused."""
    from compiler.cost import by_part, graph_cost

    cost = graph_cost(graph)
    return {
        "parts": {
            part: {
                "parameters": sum(node.parameters for node in nodes),
                "multiply_adds": sum(node.multiply_adds for node in nodes),
                "moved_bytes": sum(node.moved_bytes for node in nodes),
            }
            for part, nodes in by_part(cost.nodes, depth).items()
        },
        "moved_bytes": cost.moved_bytes,
        "weight_bytes": cost.weight_bytes,
        "peak_bytes": cost.peak_bytes,
        "peak_at": cost.peak_at,
    }


def _unread(whole: "Cost", built: "Cost") -> list[str]:
    """One sentence where the network computes less than what the genotype describes."""
    if built == whole:
        return []
    return [
        f"{whole.parameters - built.parameters:,} of the parameters and "
        f"{whole.multiply_adds - built.multiply_adds:,} of the multiply-adds belong to results "
        "that nothing in this network reads; it is built without them, with "
        f"{built.parameters:,} and {built.multiply_adds:,}"
    ]


def print_content(spec: str, content: dict[str, Any], *, as_json: bool) -> None:
    """To standard output."""
    if as_json:
        click.echo(json.dumps(content, indent=2))
        return
    click.echo(f"{click.style(_name(spec), bold=True)}  {content['hash']}")
    _print_provenance(content["genotype"].get("provenance", {}))
    for kind, cell in content["genotype"]["cells"].items():
        _print_cell(kind, cell)
    click.echo(
        f"\nnode = {content['genotype']['aggregation']} of its paths, written operation(input)"
    )
    click.echo(f"\n{click.style('network', bold=True)}  {_network(content['network'])}")
    click.echo(f"parameters     {content['parameters']:>15,}")
    click.echo(f"multiply-adds  {content['multiply_adds']:>15,}")
    if "cost" in content:
        _print_cost(content["cost"])
    for warning in content["warnings"]:
        wrapped = click.wrap_text(warning, WIDTH - len("warning: "))
        click.echo(f"{click.style('warning', fg='yellow')}: {wrapped}")
    if "graph" in content:
        click.echo(f"\n{content['graph']}", nl=False)


def _print_cost(cost: dict[str, Any]) -> None:
    width = max(map(len, cost["parts"]))
    click.echo(f"\n{'':{width}}  {'parameters':>14} {'multiply-adds':>16} {'bytes moved':>14}")
    for part, numbers in cost["parts"].items():
        parameters, products, moved = numbers.values()
        click.echo(f"{part:{width}}  {parameters:>14,} {products:>16,} {moved:>14,}")
    click.echo(f"bytes moved    {cost['moved_bytes']:>15,}, with nothing fused")
    click.echo(f"peak memory    {cost['peak_bytes']:>15,} bytes of values, at {cost['peak_at']}")


def _name(spec: str) -> str:
    return "standard input" if spec == "-" else spec


def _print_provenance(provenance: dict[str, Any]) -> None:
    if not provenance:
        return
    numbers = [f"{key} {provenance[key]}" for key in ("draws", "seed") if key in provenance]
    dataset = [f"on {provenance['dataset']}"] if "dataset" in provenance else []
    click.echo(", ".join([f"found by {provenance['method']}", *numbers, *dataset]))
    if "source" in provenance:
        click.echo(click.wrap_text(provenance["source"], WIDTH))


def _print_cell(kind: str, cell: dict[str, Any]) -> None:
    output = ", ".join(map(str, cell["output"]))
    click.echo(f"\n{click.style(f'{kind} cell', bold=True)}  output: nodes {output}")
    for number, node in enumerate(cell["nodes"], start=2):
        paths = " + ".join(f"{path['operation']}({path['input']})" for path in node["paths"])
        click.echo(click.wrap_text(paths or "no paths", WIDTH, f"  node {number} = ", " " * 11))


def _network(network: dict[str, Any]) -> str:
    parts = [
        counted(network["channels"], "channel"),
        counted(network["cells"], "cell"),
        counted(network["classes"], "class", "classes"),
        f"input {'x'.join(map(str, network['input']))}",
    ]
    for key in ("output_stride", "head_channels"):
        if key in network:
            parts.append(f"{key.replace('_', ' ')} {network[key]}")
    return f"{network['skeleton']}: {', '.join(parts)}"


def print_operations(*, as_json: bool) -> None:
    """Every candidate operation with one line on its structure."""
    from compiler.candidates import CANDIDATES

    lines = {name: _first_line(candidate) for name, candidate in CANDIDATES.items()}
    if as_json:
        click.echo(json.dumps({"operations": lines}, indent=2))
        return
    width = max(map(len, lines))
    for name, line in lines.items():
        click.echo(f"{name:{width}}  {line}")


def _first_line(candidate: Any) -> str:
    function = candidate.func if isinstance(candidate, partial) else candidate
    return (inspect.getdoc(function) or "").partition("\n")[0]
