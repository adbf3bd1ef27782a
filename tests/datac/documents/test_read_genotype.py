"""Genotypes from outside: whatever is wrong becomes one sentence, quickly, and nothing is run."""

import io
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path as FilePath
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac import published
from datac.documents.genotype import Genotype, genotype_warnings
from datac.documents.read import MIB, read_genotype, read_json
from datac.documents.text_forms import to_text
from datac.errors import BadInput

Content = dict[str, Any]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def content() -> Content:
    read: Content = json.loads(published.load("data-m4").to_json())
    return read


def normal(genotype: Content) -> Content:
    cell: Content = genotype["cells"]["normal"]
    return cell


def sentence(spec: str) -> str:
    with pytest.raises(BadInput) as caught:
        read_genotype(spec)
    text = str(caught.value)
    assert text.isprintable()
    assert caught.value.exit_code == 2
    return text


def sentence_for(raw: bytes | str, name: str = "genotype.json") -> str:
    FilePath(name).write_bytes(raw.encode() if isinstance(raw, str) else raw)
    text = sentence(name)
    assert text.startswith(f"{name}: ")
    return text.removeprefix(f"{name}: ")


# ---------------------------------------------------------------- what is read


def test_published_name_json_file_text_file_and_standard_input_are_one_genotype(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = published.load("data-m4")
    FilePath("cell.json").write_text(expected.to_json())
    FilePath("cell.py").write_text("\ufeff" + to_text(expected), encoding="utf-8")
    FilePath("without_suffix").write_text(to_text(expected).replace("\n", "\r\n"))
    stdin = SimpleNamespace(buffer=io.BytesIO(expected.to_json().encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    for spec in ("data-m4", "cell.json", "cell.py", "without_suffix", "-"):
        assert read_genotype(spec).hash == expected.hash
    assert read_genotype("cell.json") == expected


def test_printed_dict_is_a_text_form_although_it_begins_like_json() -> None:
    cell = '"normal": [[("skip_connect", 0)]], "normal_concat": [2]'
    text = f"{{{cell}, {cell.replace('normal', 'reduce')}}}"
    FilePath("cell.txt").write_text(text)
    assert read_genotype("cell.txt").cells["reduction"].output == (2,)


def test_published_name_wins_over_a_file_and_a_path_reaches_the_file() -> None:
    FilePath("data-m4").write_text(published.load("nasnet-a").to_json())
    assert read_genotype("data-m4").hash == published.load("data-m4").hash
    assert read_genotype("./data-m4").hash == published.load("nasnet-a").hash


# ---------------------------------------------------------------- what is not a document


def test_not_json() -> None:
    assert sentence_for('{"schema": ').startswith("not JSON (line 1, column ")
    assert sentence_for("nonsense here") == (
        "neither JSON nor a text form (line 1: invalid syntax)"
    )
    assert sentence_for("") == "is empty"
    assert sentence_for(" \n") == "is empty"
    assert sentence_for(b"\xff\xfe{}") == "not UTF-8 text (byte 0)"
    assert "schema" in sentence_for("{}")
    assert sentence_for('{"schema": 1, "schema": 2}') == (
        'not JSON (the key "schema" stands twice)'
    )


def test_text_form_with_code_in_it() -> None:
    code = "Genotype(normal=__import__('pathlib').Path('harmed').touch(), normal_concat=[2])"
    assert sentence_for(code) == "line 1: the text contains code, and code is never run"
    assert not FilePath("harmed").exists()


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_hundred_megabytes_of_nesting(opening: str) -> None:
    with FilePath("genotype.json").open("w") as file:
        for _ in range(100):
            file.write(opening * (MIB // len(opening)))
    tracemalloc.start()
    started = time.monotonic()
    try:
        text = sentence("genotype.json")
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert text == "genotype.json: larger than the 8 MiB that it may have"
    assert time.monotonic() - started < 2
    assert peak_bytes < 20 * MIB


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"schema": "datac.genotype/1", "cells": '])
def test_nesting_within_the_limit(opening: str) -> None:
    text = sentence_for(opening * (7 * MIB // len(opening)))
    assert "nested too deeply" in text or "longer than" in text


def test_nesting_that_json_can_still_read() -> None:
    deep = content()
    deep["cells"]["normal"]["nodes"] = json.loads("[" * 400 + "]" * 400)
    assert sentence_for(json.dumps(deep)) == "normal cell: node 2 must be an object, not a list"


@pytest.mark.skipif(not FilePath("/dev/zero").exists(), reason="no /dev/zero on this system")
def test_endless_device(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "is a device or a pipe, not a file; give - to read standard input"
    assert sentence("/dev/zero") == f"/dev/zero: {expected}"
    FilePath("genotype.json").symlink_to("/dev/zero")
    assert sentence("genotype.json") == f"genotype.json: {expected}"
    with FilePath("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert sentence("-") == "standard input: larger than the 8 MiB that it may have"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_that_nobody_writes_to() -> None:
    os.mkfifo("pipe")
    assert sentence("pipe").startswith("pipe: is a device or a pipe, not a file")


def test_folder() -> None:
    FilePath("run").mkdir()
    assert sentence("run") == "run: is a folder, not a file"
    (FilePath("run") / "genotype.json").touch()
    assert sentence("run") == "run: is a folder, not a file; did you mean run/genotype.json?"


def test_no_such_file_or_name() -> None:
    assert sentence("missing.json") == "missing.json: there is no such file"
    assert sentence("a/b") == "a/b: there is no such file"
    assert '"data-m4" or' in sentence("data_m4")
    assert "; published are data-m4, data-m7, " in sentence("zzz")
    assert sentence("nul\0.json") == "nul?.json: there is no such file"
    assert len(sentence("x" * 5000)) < 700


def test_loop_of_links() -> None:
    FilePath("loop").symlink_to("loop")
    assert sentence("loop").startswith("loop: cannot be read (")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file"
)
def test_file_without_permission() -> None:
    FilePath("genotype.json").touch(mode=0o000)
    assert sentence("genotype.json") == "genotype.json: may not be read by this user"


# ---------------------------------------------------------------- what is wrong in the document


def first_path(genotype: Content) -> Content:
    path: Content = normal(genotype)["nodes"][1]["paths"][0]
    return path


def misspell(genotype: Content) -> None:
    first_path(genotype)["oparation"] = first_path(genotype).pop("operation")


def rename_cell(genotype: Content) -> None:
    genotype["cells"]["reduktion"] = genotype["cells"].pop("reduction")


def use_empty_node(genotype: Content) -> None:
    normal(genotype)["nodes"][0]["paths"] = []
    normal(genotype)["output"] = [5]


def add_network(genotype: Content) -> None:
    sizes = {"channels": 3, "cells": 8, "classes": 10, "input": [3, 32, 32]}
    genotype["network"] = {"schema": "datac.network/1", "skeleton": "cifar", **sizes}


WRONG: list[tuple[Callable[[Content], object], str]] = [
    (
        lambda g: g.update(schema="datac.genotype/2"),
        'the version of "datac.genotype/2" is unknown; this datac reads datac.genotype/1',
    ),
    (lambda g: g.pop("schema"), '"schema" is missing; it must be "datac.genotype/1"'),
    (lambda g: g.update(schema=1), '"schema" must be "datac.genotype/1", not 1'),
    (
        lambda g: g.update(schema="datac.report/1"),
        'is "datac.report/1", but "datac.genotype/1" is needed',
    ),
    (
        lambda g: g.update(kind="recurrent", cells={}),
        'the kind "recurrent" is reserved for a later version; this one reads convolutional '
        "genotypes",
    ),
    (
        lambda g: g.update(aggregation="summ"),
        '"aggregation" must be "sum" or "mean", not "summ". Did you mean "sum"?',
    ),
    (
        lambda g: first_path(g).update(input=7),
        "normal cell, node 3, path 0: input 7 is not one of 0 to 2",
    ),
    (
        lambda g: first_path(g).update(input=3),
        "normal cell, node 3, path 0: input 3 is not one of 0 to 2",
    ),
    (
        lambda g: first_path(g).update(input=-1),
        'normal cell, node 3, path 0: "input" must be at least 0, not -1',
    ),
    (
        lambda g: first_path(g).update(input="0"),
        'normal cell, node 3, path 0: "input" must be a whole number, not "0"',
    ),
    (
        lambda g: first_path(g).update(input=True),
        'normal cell, node 3, path 0: "input" must be a whole number, not true',
    ),
    (
        lambda g: first_path(g).pop("input"),
        'normal cell, node 3, path 0: "input" is missing',
    ),
    (
        misspell,
        'normal cell, node 3, path 0: unknown key "oparation". Did you mean "operation"?',
    ),
    (
        lambda g: first_path(g).update(operation="sep\nconv\u2028"),
        'normal cell, node 3, path 0: "sep\\nconv?" is not the name of an operation',
    ),
    (lambda g: g["cells"].pop("reduction"), "the reduction cell is missing"),
    (
        rename_cell,
        'the key "reduktion" must be "normal" or "reduction". Did you mean "reduction"?',
    ),
    (lambda g: g.update(cells=[]), '"cells" must be an object, not a list'),
    (lambda g: normal(g).update(nodes=[]), "normal cell: there are no nodes"),
    (lambda g: normal(g).update(nodes=None), 'normal cell: "nodes" must be a list, not null'),
    (lambda g: normal(g)["nodes"].insert(0, 3), "normal cell: node 2 must be an object, not 3"),
    (
        lambda g: normal(g).update(output=[2, 9]),
        "normal cell: the output names node 9, but the nodes are 2 to 5",
    ),
    (
        lambda g: normal(g).update(output=[1, 2]),
        "normal cell: the output names node 1, but the nodes are 2 to 5",
    ),
    (lambda g: normal(g).update(output=[2, 2]), "normal cell: the output names a node twice"),
    (lambda g: normal(g).update(output=[]), "normal cell: the output names no node"),
    (
        lambda g: normal(g).update(output=[2, "x"]),
        'normal cell, output: entry 1 must be a whole number, not "x"',
    ),
    (
        lambda g: normal(g)["nodes"][1].update(paths=[]),
        "normal cell: node 3 has no paths, but the output names it",
    ),
    (use_empty_node, "normal cell: node 2 has no paths, but node 3 uses it"),
    (add_network, "network: channels 3 is odd; the stride-2 skip needs an even number"),
]


@pytest.mark.parametrize(("spoil", "expected"), WRONG)
def test_wrong_document(spoil: Callable[[Content], object], expected: str) -> None:
    genotype = content()
    spoil(genotype)
    assert sentence_for(json.dumps(genotype)) == expected


def test_unknown_operation_is_a_question_for_the_compiler() -> None:
    genotype = content()
    first_path(genotype)["operation"] = "sepconv3"
    FilePath("genotype.json").write_text(json.dumps(genotype))
    assert read_genotype("genotype.json").cells["normal"].nodes[1].paths[0].operation == "sepconv3"


def test_node_without_paths_and_node_without_users_are_valid() -> None:
    genotype = content()
    normal(genotype)["output"] = [2]
    normal(genotype)["nodes"][3]["paths"] = []
    read = read_json(json.dumps(genotype).encode(), Genotype)
    assert genotype_warnings(read) == [
        "normal cell: node 3 has paths, but it is not in the output and no used node takes it as "
        "input",
        "normal cell: node 4 has paths, but it is not in the output and no used node takes it as "
        "input",
    ]


# ---------------------------------------------------------------- anything at all

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(value: object, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value, except at its top."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    found = [(*place, step) for step, _ in inside]
    return found + [deep for step, item in inside for deep in places(item, (*place, step))]


PLACES = places(content())


@settings(deadline=None)
@given(st.sampled_from(PLACES), anything)
def test_any_value_at_any_place_is_read_or_refused(place: tuple[Any, ...], value: object) -> None:
    genotype = content()
    record: Any = genotype
    for step in place[:-1]:
        record = record[step]
    record[place[-1]] = value
    raw = json.dumps(genotype).encode()
    result = outcome(raw)
    if isinstance(result, Genotype):
        assert read_json(result.to_json().encode(), Genotype) == result
    else:
        assert result.startswith("genotype.json: ")
        assert result.isprintable()


def outcome(raw: bytes) -> Genotype | str:
    try:
        return read_json(raw, Genotype, "genotype.json")
    except BadInput as error:
        return str(error)


@settings(deadline=None)
@given(anything)
def test_any_json_is_refused(value: object) -> None:
    with pytest.raises(BadInput):
        read_json(json.dumps(value).encode(), Genotype)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(BadInput):
        read_json(raw, Genotype)
