"""Every kept version of every document: its golden file is read, and what is written reads back."""

import importlib
import json
import math
import pkgutil
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Any

import pytest

import datac.documents
from datac.documents import read
from datac.documents.build_folder import Manifest, SideCar
from datac.documents.derivation import Derivation
from datac.documents.document import Document
from datac.documents.gap import Gap
from datac.documents.genotype import Genotype, Path
from datac.documents.latency_table import LatencyTable
from datac.documents.network import Classes, Network
from datac.documents.read import FORMATS, Format, read_json
from datac.documents.report import OutputError, Report
from datac.documents.search_result import SearchResult
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput

GOLDEN = FilePath(__file__).parents[2] / "golden" / "documents"


def golden_file(schema: str) -> FilePath:
    return GOLDEN / f"{schema.removeprefix('datac.').replace('/', '-')}.json"


def golden(document: type[Document]) -> dict[str, Any]:
    schema = str(document.model_fields["schema_"].default)
    content: dict[str, Any] = json.loads(golden_file(schema).read_text(encoding="utf-8"))
    return content


def refusal(content: dict[str, Any], document: type[Document]) -> str:
    with pytest.raises(BadInput) as caught:
        read_json(json.dumps(content).encode(), document, "file.json")
    return str(caught.value).removeprefix("file.json: ")


@pytest.mark.parametrize("schema", FORMATS)
def test_golden_file_is_read_and_reads_back(schema: str) -> None:
    document = read_json(golden_file(schema), FORMATS[schema].document)
    assert read_json(document.to_json().encode(), type(document)) == document


@pytest.mark.parametrize("schema", FORMATS)
def test_newest_version_is_written_as_its_golden_file(schema: str) -> None:
    if FORMATS[schema].upgrade is not None:
        pytest.skip("an old version is read, never written")
    text = golden_file(schema).read_text(encoding="utf-8")
    assert read_json(golden_file(schema), FORMATS[schema].document).to_json() == text


def test_every_document_has_a_line_in_the_table() -> None:
    for module in pkgutil.iter_modules(datac.documents.__path__):
        importlib.import_module(f"datac.documents.{module.name}")
    defined = {
        str(kind.model_fields["schema_"].default)
        for kind in Document.__subclasses__()
        if "schema_" in kind.model_fields and kind.__module__.startswith("datac.documents.")
    }
    assert defined <= set(FORMATS)


def test_old_version_is_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    def upgrade(content: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in content.items() if key != "layers"}
        return {**rest, "schema": "datac.network/1", "cells": content["layers"]}

    monkeypatch.setitem(read.FORMATS, "datac.network/0", Format(Network, upgrade=upgrade))
    content = golden(Network)
    old = {**content, "schema": "datac.network/0", "layers": content["cells"]}
    old.pop("cells")
    assert read_json(json.dumps(old).encode(), Network) == read_json(
        json.dumps(content).encode(), Network
    )


def test_file_larger_than_its_kind_may_be(tmp_path: FilePath) -> None:
    file = tmp_path / "manifest.json"
    with file.open("wb") as handle:
        handle.truncate(100 * 1024 * 1024)  # sparse
    with pytest.raises(BadInput, match="larger than the 8 MiB"):
        read_json(file, Manifest)


def test_nan_and_infinity_survive() -> None:
    error = OutputError(max_abs=math.inf, rms=math.nan, tolerance=1e-5)
    text = error.to_json()
    json.loads(text, parse_constant=pytest.fail)
    back = OutputError.model_validate_json(text)
    assert math.isinf(back.max_abs)
    assert math.isnan(back.rms)


@pytest.mark.parametrize(
    "name", ["../weights", "/etc/passwd", "a/../../b", "", ".", "C:\\x", "a\0"]
)
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    side_car = golden(SideCar)
    side_car["engine"] = name
    assert "is not the name of a file below this folder" in refusal(side_car, SideCar)
    manifest = golden(Manifest)
    manifest["files"][name] = next(iter(manifest["files"].values()))
    assert "is not the name of a file below this folder" in refusal(manifest, Manifest)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("classes",), 0, '"classes" must be at least 1, not 0'),
        (("input",), [3, 0, 32], "input (3, 0, 32) has a size below 1"),
        (("input",), [3, 32], "input: entry 2 is missing"),
        (("input",), [3, 65537, 32], "input (3, 65537, 32) has a size above 65536"),
        (("cells",), 1001, '"cells" must be at most 1000, not 1001'),
        (("channels",), 65538, '"channels" must be at most 65536, not 65538'),
        (("head_channels",), 65537, '"head_channels" must be at most 65536, not 65537'),
        (("classes",), 10**30, '"classes" must be at most 65536, not 1000000'),
        (("input",), [1, 96, 128], "preprocessing has 3 means for an input of 1 channels"),
        (
            ("preprocessing", "mean"),
            [0.5, 0.5, math.inf],
            "preprocessing, mean: entry 2 must be a finite number, not Infinity",
        ),
        (
            ("preprocessing", "standard_deviation"),
            [1, math.nan, 1],
            "preprocessing, standard_deviation: entry 1 must be a finite number, not NaN",
        ),
        (
            ("preprocessing", "resize"),
            [65537, 1],
            "preprocessing: resize (65537, 1) has a size above 65536",
        ),
        (("skeleton",), "cifat", '"skeleton" must be "cifar", "imagenet" or "segmentation", not '),
        (("chanels",), 3, 'unknown key "chanels". Did you mean "channels"?'),
        (("preprocessing", "mean"), [0.5], "preprocessing: 1 means for 3 standard deviations"),
        (
            ("preprocessing", "standard_deviation"),
            [1, 1, 0],
            "preprocessing: a standard deviation is not above 0",
        ),
        (("preprocessing", "resize"), [0, 1], "preprocessing: resize (0, 1) has a size below 1"),
        (("class_info", "names"), ["a"], "class_info: 2 colors for 1 class names"),
        (
            ("class_info", "colors"),
            [[0, 0, 0], [0, 0, 256]],
            "class_info: a color has a value outside 0 to 255",
        ),
        (("class_info",), {"names": ["a"]}, "1 class names for 2 classes"),
    ],
)
def test_network_that_cannot_be(place: tuple[str, ...], value: object, expected: str) -> None:
    network = golden(Network)
    record = network
    for step in place[:-1]:
        record = record[step]
    record[place[-1]] = value
    assert refusal(network, Network).startswith(expected)


def test_location_in_a_report_is_in_plain_words() -> None:
    report = golden(Report)
    report["genotype"]["cells"]["normal"]["nodes"][0]["paths"][0]["input"] = 5
    assert refusal(report, Report) == (
        "genotype: normal cell, node 2, path 0: input 5 is not one of 0 to 1"
    )
    report = golden(Report)
    report["targets"][0]["latency_ms"]["medain"] = 1
    assert refusal(report, Report) == (
        'targets, entry 0, latency_ms: unknown key "medain". Did you mean "median"?'
    )


# ---------------------------------------------------------------- search space and result


def test_paths_are_listed_by_input_then_candidate() -> None:
    space = SearchSpace(candidates=("none", "a", "b"), nodes=1)
    assert space.paths(2) == (
        Path(operation="a", input=0),
        Path(operation="b", input=0),
        Path(operation="a", input=1),
        Path(operation="b", input=1),
    )


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (["a", "a"], "a candidate stands twice"),
        (["none"], "there is no candidate to choose"),
        ([], "there is no candidate to choose"),
    ],
)
def test_space_without_a_choice(candidates: list[str], expected: str) -> None:
    assert refusal({**golden(SearchSpace), "candidates": candidates}, SearchSpace) == expected


def test_distribution_that_is_none_or_does_not_fit() -> None:
    content = golden(SearchResult)
    content["distributions"]["normal"][0]["none"] += 0.01
    assert refusal(content, SearchResult) == (
        "distributions, normal, entry 0: the probabilities do not sum to 1"
    )
    content = golden(SearchResult)
    content["distributions"]["normal"][0]["paths"] = [1.0]
    content["distributions"]["normal"][0]["none"] = 0.0
    assert refusal(content, SearchResult).startswith("normal cell, node 2: 1 probabilities for ")
    content = golden(SearchResult)
    content["distributions"]["reduction"].pop()
    assert refusal(content, SearchResult).startswith("reduction cell: 0 distributions for 1 nodes")


def test_result_with_a_gap_and_one_from_before_there_was_any() -> None:
    file = GOLDEN / "search_result-1-with-gap.json"
    result = read_json(file, SearchResult)
    assert result.to_json() == file.read_text(encoding="utf-8")
    gap = result.gap
    assert gap is not None
    assert (gap.supernet, gap.gap) == (0.525, pytest.approx(0.0875))
    assert gap.parts == pytest.approx({"derivation": 0.025, "form": 0.03125, "statistics": 0.03125})
    assert gap.spread == pytest.approx(0.02615, abs=1e-5)
    before = read_json(golden_file("datac.search_result/1"), SearchResult)
    assert before.gap is None
    assert result.model_copy(update={"gap": None}) == before


def test_gap_is_signed_and_none_at_chance() -> None:
    content = json.loads((GOLDEN / "search_result-1-with-gap.json").read_text(encoding="utf-8"))
    better = Gap.model_validate({**content["gap"], "recomputed": 0.5, "child": 0.75})
    assert better.gap == pytest.approx(-0.225)
    assert sum(better.parts.values()) == pytest.approx(-0.225)
    at_chance = Gap.model_validate({**content["gap"], "chance": 0.5, "margin": 0.025})
    assert at_chance.at_chance
    assert at_chance.gap is None
    above = Gap.model_validate({**content["gap"], "chance": 0.5, "margin": 0.0249})
    assert above.gap is not None


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sampled", [0.5], "gap: "),
        ("samples", 0, 'gap: "samples" must be at least 1, not 0'),
        ("child", math.nan, 'gap: "child" must be a finite number, not NaN'),
        ("metric", "iou", 'gap: "metric" must be "accuracy" or "miou", not "iou"'),
    ],
)
def test_gap_that_cannot_be(key: str, value: object, expected: str) -> None:
    content = json.loads((GOLDEN / "search_result-1-with-gap.json").read_text(encoding="utf-8"))
    content["gap"][key] = value
    assert refusal(content, SearchResult).startswith(expected)


# ---------------------------------------------------------------- derivation


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("verdict", "decided", "reasons belong to a verdict of not decided"),
        ("reasons", [], "reasons belong to a verdict of not decided"),
        ("top", [], "the first of the top genotypes is not the one that was derived"),
        ("genotype_hash", "2" * 64, "the first of the top genotypes is not the one"),
        ("draws", 0, '"draws" must be at least 1, not 0'),
    ],
)
def test_derivation_that_cannot_be(key: str, value: object, expected: str) -> None:
    assert refusal({**golden(Derivation), key: value}, Derivation).startswith(expected)


# ---------------------------------------------------------------- latency table


def test_latencies_are_found_by_their_key() -> None:
    table = read_json(golden_file("datac.latency_table/1"), LatencyTable)
    entry = table.by_key()["onnx", "sep_conv_3x3", (1, 16, 32, 32), 1, 1, False, "f32"]
    assert entry.median_ms == 0.5


def test_the_remainder_is_that_of_the_same_network() -> None:
    table = read_json(golden_file("datac.latency_table/1"), LatencyTable)
    network = table.remainders[0].network
    named = network.model_copy(update={"class_info": Classes(names=tuple("abcdefghij"))})
    assert table.remainders_of(named) == {("onnx", "f32"): 1.25}
    assert table.remainders_of(network.model_copy(update={"cells": 9})) == {}


def test_what_a_table_may_leave_out() -> None:
    content = golden(LatencyTable)
    del content["remainders"], content["entries"][0]["dilation"], content["entries"][0]["unstrided"]
    table = read_json(json.dumps(content).encode(), LatencyTable)
    assert table.remainders == ()
    assert table.entries == read_json(golden_file("datac.latency_table/1"), LatencyTable).entries


def test_table_expires() -> None:
    table = read_json(golden_file("datac.latency_table/1"), LatencyTable)
    assert table.is_expired(table.expires)
    assert not table.is_expired(table.expires - timedelta(seconds=1))
    assert table.measured < datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("expires",), "2020-01-01T00:00:00Z", "it expires before it was measured"),
        (("runtimes",), {}, "the runtime of the target onnx is missing"),
        (("entries", 0, "n"), 0, 'entries, entry 0: "n" must be at least 1, not 0'),
        (
            ("entries", 0, "interval_ms"),
            [0.6, 0.7],
            "entries, entry 0: the median 0.5 is outside its interval 0.6 to 0.7",
        ),
        (
            ("entries", 0, "shape"),
            [1, 0, 2, 2],
            "entries, entry 0: the shape (1, 0, 2, 2) has a size below 1",
        ),
        (("entries", 0, "stride"), 2, "an operation stands twice at one place, target and dtype"),
        (
            ("remainders", 0, "remainder_ms"),
            math.nan,
            'remainders, entry 0: "remainder_ms" must be a finite number, not NaN',
        ),
        (("remainders", 0, "target"), "trt", "the runtime of the target trt is missing"),
    ],
)
def test_table_that_cannot_be(place: tuple[Any, ...], value: object, expected: str) -> None:
    table = golden(LatencyTable)
    record: Any = table
    for step in place[:-1]:
        record = record[step]
    record[place[-1]] = value
    assert refusal(table, LatencyTable).startswith(expected)


def test_two_remainders_of_one_network() -> None:
    content = golden(LatencyTable)
    content["remainders"] *= 2
    assert refusal(content, LatencyTable) == "a network has two remainders at one target and dtype"


def test_golden_genotype_hash_stays() -> None:
    genotype = read_json(golden_file("datac.genotype/1"), Genotype)
    assert genotype.hash == "b84b28eb40e7ab4917ae61982100257844ad71da63eebae5128bb79b32f8450d"
