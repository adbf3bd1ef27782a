"""From pydantic's account of what is wrong to one sentence about the first thing that is."""

import difflib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from datac.documents.genotype import FIRST_NODE

Location = tuple[int | str, ...]

KEY = "[key]"
"""Pydantic's last step where a key of a dict, not its value, is wrong."""

LONGEST_QUOTE = 60
LONGEST_GUESS = 64
NEAR = 0.5
"""Of difflib's ratio: `skip` still stands for `skip_connect`."""

KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
"""What pydantic's kinds of type error wanted, in plain words."""


def first_problem(error: ValidationError, document: type[BaseModel]) -> str:
    """One sentence, without its full stop: where, what, and the nearest known name."""
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one, and pydantic names the missing one first.
    misspelt = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    problem = misspelt[0] if misspelt else problems[0]
    location = tuple(step for step in problem["loc"] if step != KEY)
    what = _what(problem, location, document)
    # A validator of ours speaks about the whole record that `location` names.
    whole = problem["type"] == "value_error"
    where = _where(location if whole else location[: -len(_subject(location))])
    return f"{where}: {what}" if where else what


def closest(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names that are spelt most like `name`, the nearest first; none where none is."""
    return difflib.get_close_matches(name[:LONGEST_GUESS], list(known), n=most, cutoff=NEAR)


def nearest(name: str, known: Iterable[str], most: int = 1) -> str:
    """`. Did you mean "..."?`, or nothing where no known name is near."""
    close = closest(name, known, most)
    return f". Did you mean {' or '.join(map(quote, close))}?" if close else ""


def counted(count: int, one: str, many: str = "") -> str:
    """`1 epoch`, `2 epochs`; `many` where an s does not make it."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def signed(value: float, form: str) -> str:
    """`+3`, `-1.0%`, and `0.0%`: what rounds to zero has no sign. form: of the number without."""
    text = format(value, f"+{form}")
    return text if re.search("[1-9]", text) else text[1:]


def quote(value: object) -> str:
    """A value as JSON on one printable line, shortened; of a list or an object only that it is."""
    if isinstance(value, list | tuple | dict):
        return "an object" if isinstance(value, dict) else "a list"
    text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def printable(text: str) -> str:
    """The same text with whatever would break the line shown as `?`."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _where(location: Location) -> str:
    """('cells', 'normal', 'nodes', 1, 'paths', 0) → normal cell, node 3, path 0."""
    words: list[str] = []
    steps = list(location)
    while steps:
        step = steps.pop(0)
        if step in _PAIRS and steps:
            words.append(_PAIRS[str(step)](steps.pop(0)))
        else:
            words.append(f"entry {step}" if isinstance(step, int) else printable(step))
    return ", ".join(words)


_PAIRS: dict[int | str, Callable[[Any], str]] = {
    "cells": lambda kind: f"{printable(str(kind))} cell",
    "nodes": lambda index: f"node {index + FIRST_NODE}" if isinstance(index, int) else str(index),
    "paths": lambda index: f"path {index}",
}
"""Steps that say something only together with the one after them."""


def _what(problem: ErrorDetails, location: Location, document: type[BaseModel]) -> str:
    kind, value = problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "missing":
        return f"{_name(location)} is missing"
    if kind == "extra_forbidden":
        key = str(location[-1])
        return f"unknown key {quote(key)}{nearest(key, _keys_at(document, location[:-1]))}"
    if kind == "string_pattern_mismatch" and location[-1:] == ("operation",):
        return f"{quote(value)} is not the name of an operation"
    wanted, guess = _wanted(problem)
    if problem["loc"][-1:] == (KEY,):
        return f"the key {quote(value)} must be {wanted}{guess}"
    return f"{_name(location)} must be {wanted}, not {quote(value)}{guess}"


def _wanted(problem: ErrorDetails) -> tuple[str, str]:
    """What the value must be, and a guess at what was meant."""
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", '"')
        guess = nearest(value, expected.split('"')[1::2]) if isinstance(value, str) else ""
        return expected, guess
    if kind in KINDS:
        return KINDS[kind], ""
    # Pydantic's own words all have this form: "Input should be greater than or equal to 1".
    words = problem["msg"].removeprefix("Input should be ").lower()
    words = words.replace("greater than or equal to", "at least")
    return words.replace("less than or equal to", "at most"), ""


def _subject(location: Location) -> Location:
    """The last steps, as many as name one thing: ('nodes', 1), ('input',)."""
    return location[-2:] if location[-2:-1] and location[-2] in _PAIRS else location[-1:]


def _name(location: Location) -> str:
    match _subject(location):
        case ():
            return "the document"
        case (str() as key,):
            return quote(key)
        case subject:
            return _where(subject)


def _keys_at(document: type[BaseModel], location: Location) -> list[str]:
    """The keys that the record at `location` may have."""
    for step in location:
        field = _fields(document).get(str(step))
        if field is not None:
            document = _record_in(field) or document
    return list(_fields(document))


def _fields(document: type[BaseModel]) -> dict[str, Any]:
    """Key in JSON → type."""
    return {field.alias or name: field.annotation for name, field in document.model_fields.items()}


def _record_in(annotation: Any) -> type[BaseModel] | None:
    """The record that a type holds: of tuple[Node, ...] it is Node."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_record_in(part) for part in get_args(annotation))
    return next((record for record in found if record is not None), None)
