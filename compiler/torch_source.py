"""`model.py`: a graph as one readable file that needs torch alone.

Scopes of the graph that share a structure become one class. What differs between its instances
(widths, strides) becomes an argument of the class; widths that always change together become one
argument. The nesting of attributes is that of the graph's names, so the child's weights fit
strictly.
"""

from __future__ import annotations

import itertools
import string
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler.graph import Graph, Node
from compiler.ops import Input
from compiler.source_class import Argument, Call, Class, Line, name_arguments, write_class


@dataclass
class _Scope:
    """One level of names: its nodes and inner scopes, in order of first use."""

    path: str
    items: dict[str, Node | _Scope] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    """Values from outside, in order of first use."""
    outputs: list[str] = field(default_factory=list)
    """Values that somebody outside reads."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """The arguments that its class is constructed with here."""
    cls: str = ""


def print_classes(graph: Graph, class_names: Mapping[str, str]) -> str:
    """Python source of the classes, the outermost (`Network`) last.

    `class_names`: path of a scope → the name to give its class, where the last segment of the
    path is not a good one.
    """
    scopes = _scopes(graph)
    classes: list[Class] = []
    taken: set[str] = set()
    # Innermost first, so that the arguments of inner classes are known.
    for height in range(_height(scopes[""]) + 1):
        groups: dict[tuple[Any, ...], list[_Scope]] = defaultdict(list)
        for scope in scopes.values():
            if _height(scope) == height:
                groups[_structure(scope)].append(scope)
        for instances in groups.values():
            wanted = class_names.get(instances[0].path, _camel(instances[0].path))
            classes.append(_make_class(graph, _free(wanted, taken), instances))
    return "\n\n".join(write_class(cls) for cls in classes)


def _height(scope: _Scope) -> int:
    inner = [_height(item) for item in scope.items.values() if isinstance(item, _Scope)]
    return 1 + max(inner) if inner else 0


def _scopes(graph: Graph) -> dict[str, _Scope]:
    scopes = {"": _Scope("", inputs=[node.name for node in graph.inputs])}
    for node in graph.nodes():
        if isinstance(node.op, Input):
            continue
        path = ""
        for segment in node.name.split("/")[:-1]:
            outer, path = path, f"{path}/{segment}" if path else segment
            if path not in scopes:
                scopes[path] = _Scope(path)
                scopes[outer].items[segment] = scopes[path]
        scopes[path].items[node.name.rsplit("/", 1)[-1]] = node
    for node in graph.nodes():
        _note_uses(graph, scopes, node)
    return scopes


def _note_uses(graph: Graph, scopes: dict[str, _Scope], node: Node) -> None:
    """Enter what a node reads, and whether it is read, into the scopes whose border is crossed."""
    if isinstance(node.op, Input):
        return
    for scope in _enclosing(scopes, node.name):
        for operand in node.operands:
            if not _within(operand, scope.path) and operand not in scope.inputs:
                scope.inputs.append(operand)
        readers = graph.users(node.name)
        read_outside = any(not _within(user, scope.path) for user in readers)
        if read_outside or node.name in graph.outputs.values():
            scope.outputs.append(node.name)


def _enclosing(scopes: dict[str, _Scope], name: str) -> list[_Scope]:
    segments = name.split("/")[:-1]
    return [scopes["/".join(segments[:length])] for length in range(len(segments) + 1)]


def _within(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}/")


def _camel(path: str) -> str:
    last = path.rsplit("/", 1)[-1]
    return "".join(word.capitalize() for word in last.split("_")) if last else "Network"


def _free(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with a letter behind it where that name is taken: `NormalCellB`."""
    letters = ["", *string.ascii_uppercase[1:]]
    names = (f"{wanted}{letter}{row or ''}" for row in itertools.count() for letter in letters)
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


# ---- one class ---------------------------------------------------------------------------


def _structure(scope: _Scope) -> tuple[Any, ...]:
    """Equal for scopes that one class can serve: all but the arguments of constructors."""
    parts: list[Any] = [tuple(_within_name(scope, name) for name in scope.outputs)]
    for local, item in scope.items.items():
        if isinstance(item, _Scope):
            reads = tuple(_reference(scope, name) for name in item.inputs)
            parts.append((local, item.cls, reads))
            continue
        module = item.op.source_module()
        what = (module.constructor, *module.arguments) if module else item.op
        parts.append((local, what, tuple(_reference(scope, name) for name in item.operands)))
    return tuple(parts)


def _within_name(scope: _Scope, name: str) -> str:
    return name.removeprefix(f"{scope.path}/") if scope.path else name


def _reference(scope: _Scope, name: str) -> str | int:
    """A value as seen from within a scope: by its local name, or by the number of the input."""
    if name in scope.inputs:
        return scope.inputs.index(name)
    return _within_name(scope, name)


def _make_class(graph: Graph, name: str, instances: list[_Scope]) -> Class:
    first = instances[0]
    lines = _lines(instances)
    calls, arguments = _calls(instances)
    name_arguments(arguments)
    for scope in instances:
        scope.cls = name
    inputs = _input_names(instances)
    for argument in arguments:
        for scope, value in zip(instances, argument.values, strict=True):
            scope.arguments[argument.name] = value
    outputs = [_within_name(first, output) for output in first.outputs]
    keys = list(graph.outputs) if not first.path else []
    return Class(name, [a.name for a in arguments], calls, inputs, lines, outputs, keys)


def _input_names(instances: list[_Scope]) -> list[str]:
    """`x`, or names that every instance agrees on, or `x0`, `x1`, ..."""
    count = len(instances[0].inputs)
    if count == 1:
        return ["x"]
    columns = [{_variable(scope.inputs[i]) for scope in instances} for i in range(count)]
    names = [next(iter(column)) if len(column) == 1 else "" for column in columns]
    if all(names) and len(set(names)) == count:
        return names
    return [f"x{index}" for index in range(count)]


def _variable(value: str) -> str:
    """The segment of a value's name below its cell, which tells a reader most: `node3`."""
    segments = value.split("/")
    return segments[1] if len(segments) > 2 else segments[0]


def _calls(instances: list[_Scope]) -> tuple[list[Call], list[Argument]]:
    """The constructor calls of a class, with arguments where its instances differ."""
    first = instances[0]
    found: list[Argument] = []
    calls = []
    for local, item in first.items.items():
        twins = [scope.items[local] for scope in instances]
        if isinstance(item, _Scope):
            constructor = item.cls
            defaults: Mapping[str, Any] = {}
            columns = {
                key: tuple(twin.arguments[key] for twin in twins if isinstance(twin, _Scope))
                for key in item.arguments
            }
        else:
            module = item.op.source_module()
            if module is None:
                continue
            constructor, defaults = module.constructor, module.defaults
            columns = {key: _column(twins, key) for key in module.arguments}
        written: dict[str, Argument | str] = {}
        for key, column in columns.items():
            if len(set(column)) > 1:
                written[key] = _argument(found, key, column)
            elif column[0] != defaults.get(key, _NO_DEFAULT):
                written[key] = repr(column[0])
        calls.append(Call(local, constructor, written))
    return calls, found


_NO_DEFAULT = object()


def _column(twins: list[Node | _Scope], key: str) -> tuple[Any, ...]:
    values = []
    for twin in twins:
        module = twin.op.source_module() if isinstance(twin, Node) else None
        assert module is not None
        values.append(module.arguments[key])
    return tuple(values)


def _argument(found: list[Argument], key: str, column: tuple[Any, ...]) -> Argument:
    """The argument for a column of values; widths that are equal everywhere share one."""
    new = Argument([key], column)
    for argument in found:
        same_use = key in argument.keys or (new.counts_channels and argument.counts_channels)
        if argument.values == column and same_use:
            argument.keys.append(key)
            return argument
    found.append(new)
    return new


def _lines(instances: list[_Scope]) -> list[Line]:
    scope = instances[0]
    names = dict(zip(scope.inputs, _input_names(instances), strict=True))
    lines = []
    for local, item in scope.items.items():
        if isinstance(item, _Scope):
            results = item.outputs
            for result in results:
                names[result] = local if len(results) == 1 else _flat(_within_name(scope, result))
            operands = [names[name] for name in item.inputs]
            text = f"self.{local}({', '.join(operands)})"
            targets = [names[result] for result in results]
        else:
            operands = [names[name] for name in item.operands]
            names[item.name] = local
            text = item.op.source_call(f"self.{local}", operands)
            targets = [local]
        lines.append(Line(targets, text, operands))
    returned = [names[output] for output in scope.outputs]
    lines.append(Line([], ", ".join(returned), returned))
    return lines


def _flat(name: str) -> str:
    return name.replace("/", "_")
