"""Python text that may hold nothing but literals → plain values, through `ast` alone.

Nothing is ever evaluated: what is not a literal, a `range` of literals or the one call that names
the record is refused as code.
"""

import ast
import re
import warnings
from collections.abc import Sequence

Value = str | int | float | bool | list["Value"] | dict[str, "Value"] | None

LONGEST_TEXT = 256 * 1024
"""Characters. Published genotypes have fewer than 4,000."""

LONGEST_RANGE = 1024
DEEPEST = 8
"""Levels of lists in lists; a record of nested cells needs four."""


# Comments, blank lines and the indentation of what was copied out of the middle of a file.
LEADING = re.compile(r"\A(?:[ \t\r]*(?:#[^\n]*)?\n)*[ \t]*")


class RefusedTextError(Exception):
    """Why a text was not read, as the end of a sentence."""


def read_record(
    text: str, call: str, fields: Sequence[str], also: Sequence[str] = ()
) -> dict[str, Value]:
    """The fields of `call(field=..., ...)` in any of these forms.

    With or without the name `call`, with or without an assignment before it, as keywords, by
    position in the order of `fields`, as a dict, or as one assignment for each of `fields` and
    `also`.
    """
    if len(text) > LONGEST_TEXT:
        raise RefusedTextError(f"longer than {LONGEST_TEXT} characters")
    statements = _parse(text, call)
    names = [_assigned_name(statement) for statement in statements]
    if len(statements) > 1 and set(names) <= {*fields, *also}:
        return _record_of_assignments(statements, names)
    if len(statements) != 1:
        raise RefusedTextError(_more_than_one(statements, names, call))
    statement = statements[0]
    if names[0] is None and not isinstance(statement, ast.Expr):
        raise RefusedTextError(_code(statement))
    return _record(_assigned_value(statement), call, fields)


def _parse(text: str, call: str) -> list[ast.stmt]:
    """The statements of the text, or of the text with the missing name put before it."""
    text = LEADING.sub(lambda leading: "\n" * leading.group().count("\n"), text)
    named = re.sub(r"\A(\n*)(?:\w+\s*=\s*)?\(", rf"\1{call}(", text, count=1)
    if named == text:
        named = f"{call}({text}\n)"
    try:
        return _tree(text)
    except SyntaxError as error:
        try:
            return _tree(named)
        except SyntaxError:
            line = f"line {error.lineno}: " if error.lineno else ""
            raise RefusedTextError(f"neither JSON nor a text form ({line}{error.msg})") from error


def _tree(text: str) -> list[ast.stmt]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bad escape in a string is nobody's business here
            return ast.parse(text).body
    except (RecursionError, MemoryError) as error:
        raise RefusedTextError("nested too deeply") from error
    except SyntaxError:
        raise
    except ValueError as error:  # a null byte, or digits without end
        raise RefusedTextError(f"neither JSON nor a text form ({error})") from error


def _assigned_name(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return name
    return None


def _assigned_value(statement: ast.stmt) -> ast.expr:
    assert isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)
    assert statement.value is not None
    return statement.value


def _record_of_assignments(statements: list[ast.stmt], names: list[str | None]) -> dict[str, Value]:
    record: dict[str, Value] = {}
    for statement, name in zip(statements, names, strict=True):
        assert name is not None
        _put(record, name, value_of(_assigned_value(statement)))
    return record


def _more_than_one(statements: list[ast.stmt], names: list[str | None], call: str) -> str:
    if not statements:
        return "no value in it"
    if None in names:
        return _code(statements[names.index(None)])
    listed = ", ".join(str(name) for name in names[:5])
    return f"{len(statements)} values for one {call} ({listed}); keep one of them"


def _record(node: ast.expr, call: str, fields: Sequence[str]) -> dict[str, Value]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=positional, keywords=keywords) if name in (
            call,
            "dict",
        ):
            record = _by_position(positional, fields) if positional else {}
            for keyword in keywords:
                if keyword.arg is None:
                    raise RefusedTextError(_code(node))
                _put(record, keyword.arg, value_of(keyword.value))
            return record
        case ast.Dict():
            content = value_of(node)
            assert isinstance(content, dict)
            return content
        case ast.Tuple(elts=positional) | ast.List(elts=positional):
            return _by_position(positional, fields)
        case ast.Constant():
            raise RefusedTextError(f"a single value where {call}(...) is needed")
    raise RefusedTextError(_code(node))


def _by_position(values: list[ast.expr], fields: Sequence[str]) -> dict[str, Value]:
    if len(values) > len(fields):
        raise RefusedTextError(f"{len(values)} values for the {len(fields)} of {', '.join(fields)}")
    return {name: value_of(value) for name, value in zip(fields, values, strict=False)}


def _put(record: dict[str, Value], name: str, value: Value) -> None:
    if name in record:
        raise RefusedTextError(f'"{name}" stands twice')
    record[name] = value


def value_of(node: ast.expr, depth: int = 0) -> Value:
    """The value of a literal; tuples and ranges become lists."""
    if depth > DEEPEST:
        raise RefusedTextError("nested too deeply")
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [value_of(element, depth + 1) for element in elements]
        case ast.Dict(keys=keys, values=values):
            return _dict(node, keys, values, depth)
        case ast.Call(func=ast.Name(id="range"), args=bounds, keywords=[]):
            return _range(node, bounds)
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[ast.Call() as inner], keywords=[]):
            return value_of(inner, depth + 1)
    raise RefusedTextError(_code(node))


def _dict(
    node: ast.expr, keys: Sequence[ast.expr | None], values: Sequence[ast.expr], depth: int
) -> Value:
    content: dict[str, Value] = {}
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            raise RefusedTextError(_code(node))
        _put(content, key.value, value_of(value, depth + 1))
    return content


def _range(node: ast.expr, bounds: list[ast.expr]) -> Value:
    numbers = [value_of(bound) for bound in bounds]
    whole = [number for number in numbers if type(number) is int]
    if len(whole) != len(numbers) or not 1 <= len(whole) <= 3 or whole[2:] == [0]:
        raise RefusedTextError(_code(node))
    try:
        long = len(range(*whole)) > LONGEST_RANGE
    except OverflowError:
        long = True
    if long:
        raise RefusedTextError(f"a range of more than {LONGEST_RANGE} numbers")
    return list(range(*whole))


def _code(node: ast.stmt | ast.expr) -> str:
    return f"line {node.lineno}: the text contains code, and code is never run"
