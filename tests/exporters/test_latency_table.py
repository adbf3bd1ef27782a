"""`datac table`: contexts, the fit, and a table that a search can read."""

import datetime
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.candidates import SEARCH_SPACE
from compiler.path_places import path_places
from compiler.verify import verify
from datac.cli import run
from datac.documents.latency_table import (
    LatencyEntry,
    LatencyRemainder,
    LatencyTable,
    Machine,
    Runtime,
)
from datac.documents.read import read_json
from datac.documents.search_space import SearchSpace
from datac.documents.unfinished_table import UnfinishedTable
from datac.errors import BadInput, PlatformMissing
from datac.exit_codes import ExitCode
from datac.published import load
from exporters import latency_table
from exporters.export import compile_genotype
from exporters.latency_fit import Residual, fit
from exporters.latency_table import Course, make_table
from exporters.predicted import predicted_ms
from exporters.request import Request
from exporters.timed_networks import COPIES, MOST_PATHS, context_graph, random_genotype
from searcher.path_costs import timed_costs

SPACE = SearchSpace(candidates=SEARCH_SPACE, nodes=2)


@pytest.mark.parametrize("skeleton", ["classification", "segmentation"])
def test_every_candidate_stands_in_a_context_of_its_place(networks, skeleton):
    for place in path_places(getattr(networks, skeleton), SPACE)[0]:
        graph = context_graph(place, place.operation)
        verify(graph)
        alone = context_graph(place, None)
        verify(alone)
        added = graph.cost().multiply_adds - alone.cost().multiply_adds
        assert added == COPIES * place.cost.multiply_adds
        assert graph["sum"].type == alone["sum"].type


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_fit_finds_what_the_times_were_made_of(data):
    names = ("a", "b", "c")
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    remainder = data.draw(st.floats(0.5, 5.0))
    factors = dict(zip(names, draw.uniform(0.7, 1.3, 3), strict=True))
    sums = [dict(zip(names, draw.uniform(0.2, 3.0, 3), strict=True)) for _ in range(40)]
    times = [remainder + sum(factors[k] * v for k, v in each.items()) for each in sums]
    found, scales = fit(sums, times, names)
    predicted = [found + sum(scales[k] * v for k, v in each.items()) for each in sums]
    assert predicted == pytest.approx(times, rel=0.02)


def test_an_operation_that_no_network_has_keeps_its_own_time():
    sums = [{"a": float(i), "never": 0.0} for i in range(1, 10)]
    remainder, factors = fit(sums, [2.0 + i for i in range(1, 10)], ("a", "never"))
    assert remainder == pytest.approx(2.0, rel=0.02)
    assert factors["a"] == pytest.approx(1.0, rel=0.02)
    assert factors["never"] == pytest.approx(1.0)


def test_random_genotypes_have_a_few_different_paths_a_node():
    draw = np.random.default_rng(0)
    counts = set()
    for _ in range(50):
        for cell in random_genotype(SPACE, draw).cells.values():
            for _, node in cell.numbered():
                assert len(set(node.paths)) == len(node.paths)
                counts.add(len(node.paths))
    assert counts == set(range(1, MOST_PATHS + 1))


def test_a_table_holds_every_place_and_search_and_compile_can_read_it(
    networks, tmp_path, monkeypatch
):
    monkeypatch.setattr(latency_table, "TOGETHER", 4)  # eleven networks: three groups
    network = networks.classification
    course = Course("onnx", network, SPACE, threads=1, fitted=8, held_out=3, seconds=0.05)
    table, residual = make_table(course)
    keys = {place.key("onnx", "f32") for place in path_places(network, SPACE)[0]}
    assert set(table.by_key()) == keys
    (remainder,) = table.remainders
    assert (remainder.n, remainder.held_out) == (8, 3)
    assert remainder.mean_error == residual.mean_error <= residual.largest_error
    assert len(residual.measured_ms) == len(residual.predicted_ms) == 3
    assert min(residual.measured_ms) > 0
    costs = timed_costs(network, SPACE, table)
    genotype = random_genotype(SPACE, np.random.default_rng(1))
    assert costs.of(genotype.cells) > costs.rest
    assert costs.uncertainty == pytest.approx(remainder.mean_error)
    found = predicted_ms(table, genotype, network, "onnx", "f32")
    assert found * (1 + costs.uncertainty) == pytest.approx(costs.of(genotype.cells))
    assert predicted_ms(table, genotype, network, "onnx", "f16") is None
    assert predicted_ms(table, genotype, networks.segmentation, "onnx", "f32") is None
    request = Request(("onnx", "openvino"), tmp_path / "build", threads=1, table=table)
    report = compile_genotype(genotype, network, None, replace(request, bench_seconds=0.1))
    assert [result.predicted_ms for result in report.targets] == [found, None]


def test_a_target_that_does_not_run_here_is_missing(networks):
    with pytest.raises(PlatformMissing, match=r"; measure the table where such engines run$"):
        make_table(Course("trt", networks.classification, SPACE))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"threads": 2}, "give --threads 1 with it"),
        ({"rewrites": ()}, "leave out --rewrite"),
        ({"embed": ("argmax",)}, "leave out --embed"),
        ({"tune_seconds": 1.0}, "leave out --tune"),
        ({"dynamic": True}, "leave out --height-width dynamic"),
        ({"device": "cuda"}, "on cpu; give --device cpu"),
    ],
)
def test_a_table_predicts_no_engine_unlike_those_it_is_of(networks, tmp_path, changed, words):
    table = empty_table("a processor", "onnx", threads=1)
    request = Request(("onnx",), tmp_path / "build", **{"threads": 1, "table": table} | changed)
    with pytest.raises(BadInput, match=words):
        request.check(networks.classification)


def test_a_table_of_a_target_that_only_a_gpu_runs_asks_for_no_device(networks, tmp_path):
    table = empty_table("cuda (a GPU)", "trt", threads=None)
    remainder = LatencyRemainder(
        target="trt", dtype="f32", network=networks.classification, n=8, remainder_ms=1.0
    )
    table = table.model_copy(update={"remainders": (remainder,)})
    Request(("trt",), tmp_path / "build", table=table).check(networks.classification)
    with pytest.raises(BadInput, match="is of engines of trt f32, and none of these is asked"):
        Request(("onnx",), tmp_path / "build", table=table, device="cuda").check(
            networks.classification
        )
    with pytest.raises(BadInput, match=r"another network \(cifar, not seg.*: datac table --t"):
        Request(("trt",), tmp_path / "build", table=table).check(networks.segmentation)
    table = empty_table("cuda (a GPU)", "onnx", threads=None)
    with pytest.raises(BadInput, match="on cuda; give --device cuda"):
        Request(("onnx",), tmp_path / "build", table=table).check(networks.classification)


def empty_table(device, target, threads):
    now = datetime.datetime.now(datetime.UTC)
    return LatencyTable(
        machine=Machine(device=device, threads=threads, platform="any"),
        runtimes={target: Runtime(name=target, version="1")},
        measured=now,
        expires=now + datetime.timedelta(days=1),
        entries=(),
    )


WORDS = [
    *("table", "--target", "openvino", "--channels", "4", "--cells", "3", "--classes", "3"),
    *("--input", "3x8x8", "--nodes", "1", "--candidates", "none,skip_connect,sep_conv_3x3"),
    *("--fitted", "8", "--held-out", "2", "--seconds", "0.1", "--threads", "1"),
]


def test_the_command_writes_a_table_with_the_command_that_renews_it(tmp_path, capsys):
    out = tmp_path / "table.json"
    assert run([*WORDS, "--out", str(out)]) in (0, 4)  # so short a time is off by anything
    assert "on 2 genotypes that it has not seen" in capsys.readouterr().out
    table = read_json(out, LatencyTable)
    assert {entry.operation for entry in table.entries} == {"skip_connect", "sep_conv_3x3"}
    assert table.runtimes["openvino"].name == "openvino"
    assert json.loads(out.read_text())["command"].startswith("datac")
    for names, says in (
        ("none,warp", "unknown operation"),
        ("skip_connect,skip_connect", "a candidate stands twice"),
        ("none", "there is no candidate to choose"),
    ):
        assert run([*WORDS, "--candidates", names, "--out", str(out)]) == 2
        assert says in capsys.readouterr().err


def test_interrupted_it_goes_on_and_measures_nothing_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latency_table, "TOGETHER", 5)  # ten networks: two groups
    out, beside = tmp_path / "table.json", tmp_path / "table.json.unfinished"
    measure, calls, stops = latency_table.measure, [], [1, 3, 3]

    def counted(*arguments, **named):
        calls.append(1)
        if [len(calls)] == stops[:1]:
            raise KeyboardInterrupt
        return measure(*arguments, **named)

    monkeypatch.setattr(latency_table, "measure", counted)
    command = [*WORDS, "--out", str(out)]
    assert run(command) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err.splitlines()[-1] == "datac: interrupted"
    assert [*tmp_path.iterdir()] == []
    found = []
    for _ in range(2):
        calls.clear()
        del stops[0]
        assert run(command) == ExitCode.INTERRUPTED
        said = f"{beside} holds what was measured so far, and the same command goes on"
        assert said in capsys.readouterr().err
        found.append(read_json(beside, UnfinishedTable))
    first, second = found
    assert 0 < len(first.entries) < len(second.entries)
    assert second.entries[: len(first.entries)] == first.entries
    calls.clear()
    stops.clear()
    assert run(command) in (0, 4)
    left = len(calls)
    assert [*tmp_path.iterdir()] == [out]
    calls.clear()
    assert run([*command, "--seed", "1"]) in (0, 4)  # another course, from its beginning
    assert len(calls) == left + 4


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_its_age_is_that_of_its_first_measurement(tmp_path, monkeypatch, capsys):
    out, beside = tmp_path / "table.json", tmp_path / "table.json.unfinished"
    measure, calls = latency_table.measure, []

    def once(*arguments, **named):
        calls.append(1)
        return (interrupted if len(calls) == 2 else measure)(*arguments, **named)

    monkeypatch.setattr(latency_table, "measure", once)
    assert run([*WORDS, "--out", str(out)]) == ExitCode.INTERRUPTED
    kept = read_json(beside, UnfinishedTable)
    earlier = kept.begun - datetime.timedelta(days=80)
    beside.write_text(kept.model_copy(update={"begun": earlier}).to_json())
    assert run([*WORDS, "--out", str(out)]) in (0, 4)
    assert "going on from" in capsys.readouterr().err
    table = read_json(out, LatencyTable)
    assert (table.measured, table.expires) == (earlier, earlier + datetime.timedelta(days=90))
    too_old = kept.model_copy(update={"begun": kept.begun - datetime.timedelta(days=91)})
    beside.write_text(too_old.to_json())
    assert run([*WORDS, "--out", str(out)]) in (0, 4)
    assert "going on from" not in capsys.readouterr().err
    assert read_json(out, LatencyTable).measured >= kept.begun


def test_what_was_measured_otherwise_is_not_gone_on_from(tmp_path, monkeypatch, capsys):
    out, beside = tmp_path / "table.json", tmp_path / "table.json.unfinished"
    entry = LatencyEntry(
        target="openvino",
        operation="skip_connect",
        shape=(1, 4, 8, 8),
        stride=1,
        dtype="f32",
        n=1,
        median_ms=1e6,
        interval_ms=(1e6, 1e6),
    )
    another = UnfinishedTable(course="another", begun="2026-01-01T00:00Z", entries=(entry,))
    beside.write_text(another.to_json())
    with monkeypatch.context() as patch:
        patch.setattr(latency_table, "measure", interrupted)
        assert run([*WORDS, "--out", str(out)]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err.splitlines()[-1] == "datac: interrupted"
    assert run([*WORDS, "--out", str(out)]) in (0, 4)
    assert max(entry.median_ms for entry in read_json(out, LatencyTable).entries) < 1e3
    assert not beside.exists()
    beside.write_text("mine")
    assert run([*WORDS, "--out", str(out)]) == ExitCode.BAD_INPUT
    assert beside.read_text() == "mine"


@pytest.mark.parametrize(("predicted", "code"), [(1.05, 0), (7.8, 4)])
def test_a_table_that_is_far_off_is_4_and_said_and_written(
    networks, tmp_path, monkeypatch, capsys, predicted, code
):
    table = empty_table("a processor", "onnx", threads=1)
    remainder = LatencyRemainder(
        target="onnx",
        dtype="f32",
        network=networks.classification,
        n=8,
        remainder_ms=1.0,
        held_out=1,
        mean_error=abs(predicted - 1),
    )
    table = table.model_copy(update={"remainders": (remainder,)})
    residual = Residual((predicted,), (1.0,))
    monkeypatch.setattr("exporters.latency_table.make_table", lambda course: (table, residual))
    out = tmp_path / "table.json"
    assert run(["table", "--target", "onnx", "--out", str(out)]) == code
    said = capsys.readouterr().out
    assert "on 1 genotype that it has not seen" in said
    assert ("measure again on an idle machine" in said) == (code == 4)
    assert read_json(out, LatencyTable) == table


def test_what_is_no_table_is_not_replaced(tmp_path, capsys):
    out = tmp_path / "genotype.json"
    out.write_text(load("data-m4").to_json())
    assert run(["table", "--target", "onnx", "--out", str(out)]) == 2
    assert "it is not replaced, name another file to write" in capsys.readouterr().err
    assert out.read_text() == load("data-m4").to_json()
