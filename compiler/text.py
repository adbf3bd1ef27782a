"""A graph as text, one node a line, and back.

    input = input(shape=('N', 3, 8, 8))
    stem/conv = conv(input, in_channels=3, out_channels=8, kernel=(3, 3)) @ stem
    return logits=stem/conv

Attributes that have their default are left out. What follows `@` is the origin, several joined by
`+`. Weights are not part of the text.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

from compiler.graph import Graph, Node, Origin
from compiler.ops import NAMES, OPERATIONS, Op

_LINE = re.compile(r"(?P<name>\S+) = (?P<op>\w+)\((?P<arguments>.*?)\)(?: @ (?P<origin>\S+))?")
_ORIGIN = re.compile(r"(cell|node|path)(\d+)(?:/|$)")


def print_graph(graph: Graph) -> str:
    """The text form; `parse_graph` reads it back to an equal graph."""
    lines = [_print_node(node) for node in graph.nodes()]
    outputs = ", ".join(f"{key}={name}" for key, name in graph.outputs.items())
    return "\n".join([*lines, f"return {outputs}", ""])


def parse_graph(text: str) -> Graph:
    """The graph of a text; ValueError names the line that does not parse."""
    graph = Graph()
    for number, line in enumerate(text.strip().splitlines(), start=1):
        try:
            _parse_line(graph, line.strip())
        except (SyntaxError, TypeError, ValueError) as error:
            raise ValueError(f"line {number}: {error}") from error
    return graph


def _parse_line(graph: Graph, line: str) -> None:
    if line.startswith("return "):
        for pair in _split(line.removeprefix("return ")):
            key, _, name = pair.partition("=")
            graph.set_output(key, name)
        return
    match = _LINE.fullmatch(line)
    if match is None or match["op"] not in OPERATIONS:
        raise ValueError(f"no node: {line}")
    op, operands = _parse_call(match["op"], match["arguments"])
    origins = tuple(map(_parse_origin, (match["origin"] or "").split("+")))
    graph.add(match["name"], op, *operands, origin=origins if match["origin"] else ())


def _print_node(node: Node) -> str:
    attributes = [
        f"{field.name}={getattr(node.op, field.name)!r}"
        for field in dataclasses.fields(node.op)  # type: ignore[arg-type]
        if getattr(node.op, field.name) != field.default
    ]
    call = f"{NAMES[type(node.op)]}({', '.join([*node.operands, *attributes])})"
    origin = "+".join(str(origin) for origin in node.origin)
    return f"{node.name} = {call}" + (f" @ {origin}" if origin else "")


def _parse_call(name: str, arguments: str) -> tuple[Op, list[str]]:
    operands: list[str] = []
    attributes: dict[str, Any] = {}
    for argument in _split(arguments):
        key, equals, value = argument.partition("=")
        if equals:
            attributes[key] = ast.literal_eval(value)
        else:
            operands.append(argument)
    return OPERATIONS[name](**attributes), operands


def _split(arguments: str) -> list[str]:
    """Split at the commas that stand in no bracket."""
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(arguments):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(arguments[begin:position].strip())
            begin = position + 1
    return [part for part in (*parts, arguments[begin:].strip()) if part]


def _parse_origin(text: str) -> Origin:
    numbers: dict[str, Any] = {}
    while match := _ORIGIN.match(text):
        numbers[match[1]] = int(match[2])
        text = text[match.end() :]
    if "path" in numbers:
        operation, _, text = text.partition("/")
        numbers["operation"] = operation
    return Origin(part=text, **numbers)
