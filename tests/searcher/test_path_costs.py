"""The costs of paths against the compiler's count of whole children, and latencies from a table."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.candidates import SEARCH_SPACE
from compiler.lower import lower
from compiler.path_places import path_places
from datac.cli import run
from datac.documents.genotype import Cell, Genotype, Node
from datac.documents.latency_table import LatencyEntry, LatencyRemainder, LatencyTable, Machine
from datac.documents.network import Network
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput
from datac.exit_codes import ExitCode
from exporters.latency_table import Course
from searcher.bounds import Limits, amount
from searcher.path_costs import counted_costs, timed_costs

SPACE = SearchSpace(candidates=SEARCH_SPACE)
SMALL = SearchSpace(candidates=("none", "skip_connect", "sep_conv_5x5", "dil_conv_3x3"), nodes=2)
CIFAR = Network(skeleton="cifar", channels=4, cells=5, classes=3, input=(3, 9, 7))
SEGMENTATION = Network(
    skeleton="segmentation",
    channels=4,
    cells=6,
    classes=3,
    input=(3, 35, 33),
    output_stride=8,
    head_channels=6,
)
NETWORKS = [
    CIFAR,
    CIFAR.model_copy(update={"cells": 2}),  # reductions alone
    CIFAR.model_copy(update={"skeleton": "imagenet", "input": (3, 35, 33)}),
    SEGMENTATION,  # both reductions lose their stride
    SEGMENTATION.model_copy(update={"output_stride": 16}),
    SEGMENTATION.model_copy(update={"output_stride": 32, "cells": 3}),
]


@st.composite
def genotypes(draw: st.DrawFn, space: SearchSpace) -> Genotype:
    """Any of the space; every node is in the output, as in what a search derives."""

    def cell() -> Cell:
        nodes = tuple(
            Node(
                paths=tuple(draw(st.lists(st.sampled_from(space.paths(n)), min_size=1, max_size=4)))
            )
            for n in space.numbers()
        )
        return Cell(nodes=nodes, output=tuple(space.numbers()))

    return Genotype(
        cells={"normal": cell(), "reduction": cell()},
        aggregation=draw(st.sampled_from(["sum", "mean"])),
    )


def reads_all(genotype: Genotype) -> bool:
    """Whether both cells read both of their inputs."""
    return all(
        {0, 1} <= {path.input for node in cell.nodes for path in node.paths}
        for cell in genotype.cells.values()
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data(), network=st.sampled_from(NETWORKS), space=st.sampled_from([SPACE, SMALL]))
def test_costs_add_up_to_the_compilers_count(
    data: st.DataObject, network: Network, space: SearchSpace
) -> None:
    genotype = data.draw(genotypes(space))
    counted = lower(genotype, network, keep_unread=True).cost()
    built = lower(genotype, network).cost()
    for quantity in ("parameters", "multiply_adds"):
        costs = counted_costs(network, space, quantity)
        assert costs.of(genotype.cells) == getattr(counted, quantity)
        assert costs.smallest(space) <= costs.of(genotype.cells)
        # A build leaves out what nothing reads: less, and equal where everything is read.
        assert getattr(built, quantity) <= getattr(counted, quantity)
        assert not reads_all(genotype) or getattr(built, quantity) == getattr(counted, quantity)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_smallest_child_is_one(network: Network) -> None:
    """Every node has its cheapest path, which has no weights in this space."""
    for quantity in ("parameters", "multiply_adds"):
        costs = counted_costs(network, SPACE, quantity)
        assert costs.smallest(SPACE) == costs.rest
    # Without pools a reduction cell's first node pays for its skip; the second skips that node.
    costs = counted_costs(network, SMALL, "parameters")
    skip = costs.paths["reduction"][0, "skip_connect"]
    assert skip > 0
    assert costs.smallest(SMALL) == costs.rest + skip


# ---------------------------------------------------------------- latency


def table_for(network: Network, space: SearchSpace, **changes: Any) -> LatencyTable:
    """One whose entries are the number of values that each path reads, in microseconds."""
    entries = {}
    for place in path_places(network, space)[0]:
        channels, height, width = place.shape
        entry = LatencyEntry(
            target="onnx",
            operation=place.operation,
            shape=(1, *place.shape),
            stride=place.stride,
            dilation=place.dilation,
            unstrided=place.unstrided,
            dtype="f32",
            n=5,
            median_ms=channels * height * width / 1000,
            interval_ms=(0, 1000),
        )
        entries[entry.key] = entry
    content: dict[str, Any] = {
        "machine": Machine(device="a processor", platform="linux"),
        "runtimes": {"onnx": {"name": "onnxruntime", "version": "1.20.0"}},
        "measured": datetime(2026, 1, 1, tzinfo=UTC),
        "expires": datetime(2100, 1, 1, tzinfo=UTC),
        "entries": tuple(entries.values()),
        "remainders": (
            LatencyRemainder(target="onnx", dtype="f32", network=network, n=8, remainder_ms=0.5),
        ),
    }
    return LatencyTable(**{**content, **changes})


@settings(max_examples=30, deadline=None)
@given(data=st.data(), network=st.sampled_from(NETWORKS))
def test_a_latency_is_the_sum_of_its_entries(data: st.DataObject, network: Network) -> None:
    genotype = data.draw(genotypes(SMALL))
    found = timed_costs(network, SMALL, table_for(network, SMALL)).of(genotype.cells)
    graph = lower(genotype, network, keep_unread=True)
    firsts: dict[tuple[Any, ...], float] = {}
    for node in graph.nodes():
        at = node.origin[0]
        if at.path is not None:
            channels, height, width = graph.operand_types(node)[0].shape[1:]
            firsts.setdefault(
                (at.cell, at.node, at.path), int(channels) * int(height) * int(width) / 1000
            )
    assert found == pytest.approx(0.5 + sum(firsts.values()), rel=1e-12)


def test_a_dilation_and_a_lost_stride_have_entries_of_their_own() -> None:
    places = path_places(SEGMENTATION, SMALL)[0]
    lost = {(p.stride, p.dilation) for p in places if p.unstrided}
    assert lost == {(1, 1), (1, 2)}
    assert {p.dilation for p in places if p.kind == "normal"} == {1, 2, 4}
    assert not any(p.unstrided for p in path_places(CIFAR, SMALL)[0])


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.skeleton)
def test_the_command_of_a_refusal_measures_the_table_that_is_needed(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    courses: list[Course] = []

    def give_up(course: Course) -> None:
        courses.append(course)
        raise BadInput("not measured here")

    monkeypatch.setattr("exporters.latency_table.make_table", give_up)
    monkeypatch.chdir(tmp_path)
    table = table_for(CIFAR, SMALL)
    for threads in (None, 2):
        machine = table.machine.model_copy(update={"threads": threads})
        known = table.model_copy(update={"machine": machine})
        program, *words = shlex.split(known.renewal(network, SMALL))
        assert (program, run(words)) == ("datac", ExitCode.BAD_INPUT)
        course = courses[-1]
        assert (course.target, course.network, course.space) == ("onnx", network, SMALL)
        assert course.threads == threads
    assert len(courses) == 2


def test_what_a_table_lacks_is_named() -> None:
    whole = table_for(CIFAR, SMALL)
    for index, entry in enumerate(whole.entries):
        rest = whole.entries[:index] + whole.entries[index + 1 :]
        sizes = "x".join(map(str, entry.shape))
        with pytest.raises(BadInput) as caught:
            timed_costs(CIFAR, SMALL, whole.model_copy(update={"entries": rest}))
        assert str(caught.value).startswith(
            f"--table has no entry for {entry.operation} on {sizes}, stride {entry.stride}, "
            "dilation 1 at onnx f32; measure one that has: datac table --target onnx --network"
        )


def test_a_table_for_another_network_or_for_several_targets() -> None:
    table = table_for(CIFAR, SMALL)
    with pytest.raises(BadInput, match=r"\(cifar, not segmentation\); measure one") as e:
        timed_costs(SEGMENTATION, SMALL, table)
    assert " ".join(SEGMENTATION.options) in str(e.value)
    larger = CIFAR.model_copy(update={"cells": 7})
    said = f"than the child's \\(cells {CIFAR.cells}, not 7\\); measure one for it"
    with pytest.raises(BadInput, match=said):
        timed_costs(larger, SMALL, table)
    other = table.remainders[0].model_copy(update={"dtype": "f16"})
    several = table.model_copy(update={"remainders": (*table.remainders, other)})
    with pytest.raises(BadInput, match=r"several targets \(onnx f32, onnx f16\); give a table of"):
        timed_costs(CIFAR, SMALL, several)


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"max_params": 0}, "--max-params 0: a bound is a number above 0"),
        ({"max_macs": -5}, "--max-macs -5: a bound"),
        ({"max_macs": 10**400}, "--max-macs 100000000000000000000000: a bound is .* below 1e"),
        ({"max_latency_ms": float("nan")}, "--max-latency-ms nan: a bound"),
        ({"max_latency_ms": float("inf")}, "--max-latency-ms inf: a bound"),
        ({"max_latency_ms": 5.0}, "--max-latency-ms needs --table FILE"),
        ({"table": table_for(CIFAR, SMALL)}, "--table does nothing without --max-latency-ms"),
    ],
)
def test_bounds_that_cannot_be(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        Limits(**given)


def test_a_bound_below_the_smallest_child_names_it() -> None:
    smallest = int(counted_costs(CIFAR, SPACE, "parameters").smallest(SPACE))
    assert Limits(max_params=smallest).bounds(CIFAR, SPACE)
    with pytest.raises(BadInput) as caught:
        Limits(max_params=smallest - 1).bounds(CIFAR, SPACE)
    assert str(caught.value) == (
        f"--max-params {smallest - 1}: the smallest possible child of this network "
        f"has {smallest:,} parameters; give a bound of that or more, or a smaller network "
        "(--channels, --cells, --head-channels)"
    )
    with pytest.raises(BadInput, match=r"--max-macs 1: .* has [\d,]+ multiply-adds"):
        Limits(max_macs=1).bounds(CIFAR, SPACE)
    table = table_for(CIFAR, SPACE)
    least = timed_costs(CIFAR, SPACE, table).smallest(SPACE)
    with pytest.raises(BadInput) as caught:
        Limits(max_latency_ms=least - 0.01, table=table).bounds(CIFAR, SPACE)
    shown = amount(least, "latency_ms")
    assert f"the smallest possible child of this network has {shown};" in str(caught.value)
    named = float(shown.removesuffix(" ms"))
    assert Limits(max_latency_ms=named, table=table).bounds(CIFAR, SPACE)
