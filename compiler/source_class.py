"""One class of `model.py`, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100
INDENT = "    "
_CHANNELS = re.compile(r"(in_|out_)?(channels|features)(_\d+)?|groups|num_features")


@dataclass
class Argument:
    """A constructor argument: the keywords it is passed as, and its value in each instance."""

    keys: list[str]
    values: tuple[Any, ...]
    name: str = ""

    @property
    def counts_channels(self) -> bool:
        """Whether it is a number of channels."""
        return _CHANNELS.fullmatch(self.keys[0]) is not None


@dataclass(frozen=True)
class Call:
    """`self.attribute = constructor(keyword=...)`."""

    attribute: str
    constructor: str
    arguments: Mapping[str, Argument | str]


@dataclass
class Line:
    """`targets = text`; without targets it is what `forward` returns."""

    targets: list[str]
    text: str
    reads: list[str]


@dataclass(frozen=True)
class Class:
    """See `write_class`. `keys`: names of the outputs where `forward` returns a dict."""

    name: str
    arguments: list[str]
    calls: list[Call]
    inputs: list[str]
    lines: list[Line]
    outputs: list[str]
    keys: list[str] = field(default_factory=list)


def name_arguments(arguments: list[Argument]) -> None:
    """Names from the keywords; one that serves several counts of channels is `channels`."""
    taken: set[str] = set()
    for argument in arguments:
        several = len(set(argument.keys)) > 1 and argument.counts_channels
        wanted = "channels" if several else re.sub(r"_\d+$", "", argument.keys[0])
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name)
        argument.name = name


def write_class(cls: Class) -> str:
    """The source of an `nn.Module`."""
    rows = [f"class {cls.name}(nn.Module):"]
    if cls.calls:
        rows += _write_signature(["self", *cls.arguments])
        rows.append(f"{INDENT * 2}super().__init__()")
        for call in cls.calls:
            rows += _write_call(call)
        rows.append("")
    rows.append(f"{INDENT}def forward(self, {', '.join(cls.inputs)}):")
    rows += [row for line in _inlined(cls.lines) for row in _write_line(line, cls.keys)]
    return "\n".join(rows) + "\n"


def _write_signature(parameters: list[str]) -> list[str]:
    begin, end = f"{INDENT}def __init__(", "):"
    row = f"{begin}{', '.join(parameters)}{end}"
    if len(row) <= WIDTH:
        return [row]
    inner = INDENT * 2 + ", ".join(parameters)
    if len(inner) <= WIDTH:
        return [begin, inner, f"{INDENT}{end}"]
    return [begin, *(f"{INDENT * 2}{name}," for name in parameters), f"{INDENT}{end}"]


def _write_call(call: Call) -> list[str]:
    arguments = [
        f"{key}={value.name if isinstance(value, Argument) else value}"
        for key, value in call.arguments.items()
    ]
    begin = f"{INDENT * 2}self.{call.attribute} = {call.constructor}("
    return _wrapped(begin, arguments, ")")


def _write_line(line: Line, keys: list[str]) -> list[str]:
    text = line.text
    if line.targets:
        return _wrapped_sum(f"{INDENT * 2}{', '.join(line.targets)} = ", text)
    if len(keys) > 1:
        pairs = [f'"{key}": {value}' for key, value in zip(keys, line.reads, strict=True)]
        text = f"{{{', '.join(pairs)}}}"
    return _wrapped_sum(f"{INDENT * 2}return ", text)


def _wrapped(begin: str, items: list[str], end: str) -> list[str]:
    """One row where it fits, else one item a row with a trailing comma, as formatters write it."""
    row = f"{begin}{', '.join(items)}{end}"
    if len(row) <= WIDTH:
        return [row]
    inner = ", ".join(items)
    if len(INDENT * 3 + inner) <= WIDTH and not _splits_by_item(items):
        return [begin, f"{INDENT * 3}{inner}", f"{INDENT * 2}{end}"]
    return [begin, *(f"{INDENT * 3}{item}," for item in items), f"{INDENT * 2}{end}"]


def _splits_by_item(items: list[str]) -> bool:
    return len(items) != 1 and len(INDENT * 3 + ", ".join(items)) > WIDTH


def _wrapped_sum(begin: str, text: str) -> list[str]:
    row = begin + text
    if len(row) <= WIDTH:
        return [row]
    if " + " in text:
        first, *rest = _terms(text)
        rows = [f"{INDENT * 3}{first}", *(f"{INDENT * 3}+ {term}" for term in rest)]
        return [f"{begin}(", *rows, f"{INDENT * 2})"]
    inside = re.fullmatch(r"(.*?\(\[?)(.*?)(\]?(?:, 1)?\))", text)
    assert inside is not None
    if inside[1].endswith("["):
        return _wrapped_list(begin, inside[2])
    return _wrapped(begin + inside[1], inside[2].split(", "), inside[3])


def _wrapped_list(begin: str, inner: str) -> list[str]:
    row = f"{INDENT * 3}[{inner}], 1"
    if len(row) <= WIDTH:
        return [f"{begin}torch.cat(", row, f"{INDENT * 2})"]
    items = [f"{INDENT * 4}{item}," for item in inner.split(", ")]
    return [
        f"{begin}torch.cat(",
        f"{INDENT * 3}[",
        *items,
        f"{INDENT * 3}],",
        f"{INDENT * 3}1,",
        f"{INDENT * 2})",
    ]


def _terms(text: str) -> list[str]:
    """Split a sum at its own level."""
    terms, depth, begin = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and text.startswith(" + ", position):
            terms.append(text[begin:position])
            begin = position + 3
    return [*terms, text[begin:]]


def _inlined(lines: list[Line]) -> list[Line]:
    """Write an expression into its one reader, where the reader comes next to it and stays short.

    Only the value just computed moves, so the order of computation stays what it was.
    """
    uses: dict[str, int] = {}
    for line in lines:
        for name in line.reads:
            uses[name] = uses.get(name, 0) + 1
    result: list[Line] = []
    for line in lines:
        while result and _fits(result[-1], line, uses):
            before = result.pop()
            (name,) = before.targets
            text = _put(before.text, name, line.text)
            reads = [r for x in line.reads for r in (before.reads if x == name else [x])]
            line = Line(line.targets, text, reads)  # noqa: PLW2901
        result.append(line)
    return result


def _put(expression: str, name: str, text: str) -> str:
    """`text` with the variable `name` replaced; an attribute of that name is left alone."""
    return re.sub(rf"(?<![\w.]){name}\b", lambda _: expression, text, count=1)


def _fits(before: Line, line: Line, uses: dict[str, int]) -> bool:
    if len(before.targets) != 1 or before.targets[0] not in line.reads:
        return False
    name = before.targets[0]
    return uses[name] == 1 and len(before.text) + len(line.text) < WIDTH * 2 // 3
