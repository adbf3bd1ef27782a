"""The proof of a rewrite: what is exact passes, what is only nearly right does not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.candidates import CANDIDATES, Place, candidate_graph
from compiler.graph import Graph, Node
from compiler.lower import lower
from compiler.ops import AvgPool, BatchNorm, Conv, TensorType
from compiler.passes import CANONICAL, REWRITES, FoldBatchNorm
from compiler.passes.fold_batch_norm import Match
from compiler.proof import TOLERANCE, Proof, prove, prove_each, randomise
from compiler.rewrite import Applied, apply
from compiler.text import parse_graph, print_graph
from datac.documents.genotype import Aggregation, Cell, CellKind, Genotype, Path
from datac.documents.genotype import Node as CellNode
from datac.documents.network import DEFAULTS
from datac.published import load

BLOCK = """\
x = input(shape=('N', 3, 6, 5))
conv = conv(x, in_channels=3, out_channels=4, kernel=(3, 3), padding=(1, 1))
norm = batch_norm(conv, channels=4)
pool = avg_pool(norm)
return y=pool
"""


def block() -> Graph:
    graph = parse_graph(BLOCK)
    randomise(graph)
    return graph


class ForgetTheMean(FoldBatchNorm):
    """Wrong on purpose: the running mean is lost."""

    def rewrite(self, graph: Graph, match: Match) -> None:
        mean = match.norm.weight_name("running_mean")
        graph.weights[mean] = np.zeros_like(graph.weights[mean])
        super().rewrite(graph, match)


class ForgetEpsilon(FoldBatchNorm):
    """Wrong on purpose: by a part in ten thousand of the scale at most."""

    def rewrite(self, graph: Graph, match: Match) -> None:
        assert isinstance(match.norm.op, BatchNorm)
        graph.set_op(match.norm.name, replace(match.norm.op, epsilon=0.0), match.norm.origin)
        super().rewrite(graph, replace(match, norm=graph[match.norm.name]))


class CountThePadding:
    """Wrong on purpose, and only at the border: a mean becomes a convolution."""

    name = "count_the_padding"

    def match(self, graph: Graph, node: Node) -> Node | None:
        return node if isinstance(node.op, AvgPool) else None

    def rewrite(self, graph: Graph, match: Node) -> None:
        assert isinstance(match.op, AvgPool)
        channels, stride = match.type.channels, (match.op.stride, match.op.stride)
        mean = Conv(channels, channels, (3, 3), stride, (1, 1), groups=channels)
        graph.set_op(match.name, mean, match.origin)
        graph.weights[graph[match.name].weight_name("weight")] = np.full((channels, 1, 3, 3), 1 / 9)


@pytest.mark.parametrize("wrong", [ForgetTheMean(), ForgetEpsilon(), CountThePadding()])
def test_a_wrong_pass_is_caught(wrong: FoldBatchNorm) -> None:
    before = block()
    after, log = apply(before, (wrong,))
    assert log
    assert not prove(before, after).holds


def test_swapped_weights_are_caught() -> None:
    graph = lower(load("data-m4"), DEFAULTS["cifar"].model_copy(update={"channels": 4, "cells": 3}))
    randomise(graph)
    other = graph.copy()
    first, second = (f"cell0.node2.path1.{name}.weight" for name in ("depthwise0", "depthwise1"))
    other.weights[first], other.weights[second] = graph.weights[second], graph.weights[first]
    assert prove(graph, graph.copy()) == Proof(0.0)
    assert not prove(graph, other).holds


def test_what_is_not_a_number_proves_nothing() -> None:
    before, after = block(), block()
    after.weights["norm.bias"] = np.full(4, np.nan)
    assert not prove(before, after).holds
    assert not prove(after, after).holds


def test_the_driver_logs_leaves_the_original_alone_and_finds_nothing_twice() -> None:
    before = block()
    text, weights = print_graph(before), dict(before.weights)
    after, log = apply(before, CANONICAL)
    assert log == [Applied("fold_batch_norm", "norm")]
    assert print_graph(before) == text
    assert {name: id(weight) for name, weight in before.weights.items()} == {
        name: id(weight) for name, weight in weights.items()
    }
    again, nothing = apply(after, CANONICAL)
    assert nothing == []
    assert print_graph(again) == print_graph(after)


def test_the_driver_verifies_what_a_pass_leaves_behind() -> None:
    class LoseAWeight(FoldBatchNorm):
        def rewrite(self, graph: Graph, match: Match) -> None:
            super().rewrite(graph, match)
            del graph.weights["conv.bias"]

    with pytest.raises(ValueError, match=r"no weight conv\.bias"):
        apply(block(), (LoseAWeight(),))


def test_folded_weights_keep_their_kind_of_number_and_their_name() -> None:
    before = block()
    before.weights = {
        name: weight.astype(np.float32) if weight.dtype == np.float64 else weight
        for name, weight in before.weights.items()
    }
    after, _ = apply(before, CANONICAL)
    assert {name: weight.dtype.name for name, weight in after.weights.items()} == {
        "conv.weight": "float32",
        "conv.bias": "float32",
    }


@pytest.mark.parametrize("form", ["search", "child"])
@pytest.mark.parametrize("name", CANDIDATES)
def test_folding_is_exact_for_every_candidate(name: str, form: str) -> None:
    for stride, size in ((1, (6, 5)), (2, (6, 4)), (2, (7, 5))):
        place = Place(4, stride, 1, form)  # type: ignore[arg-type]
        before = candidate_graph(name, TensorType(("N", 4, *size)), place)
        randomise(before)
        after, log = apply(before, CANONICAL)
        proof = prove(before, after)
        assert proof.holds, proof
        norms = [node for node in after.nodes() if isinstance(node.op, BatchNorm)]
        assert bool(norms) == (form == "search" and "pool" in name)
        assert bool(log) == (len(after) < len(before))


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    cells: dict[CellKind, Cell] = {}
    kinds: tuple[CellKind, ...] = ("normal", "reduction")
    for kind in kinds:
        nodes = []
        for number in range(2, 2 + draw(st.integers(1, 3))):
            path = st.builds(
                Path, operation=st.sampled_from([*CANDIDATES]), input=st.integers(0, number - 1)
            )
            nodes.append(CellNode(paths=tuple(draw(st.lists(path, min_size=1, max_size=3)))))
        cells[kind] = Cell(nodes=tuple(nodes), output=tuple(range(2, 2 + len(nodes))))
    aggregations: tuple[Aggregation, ...] = ("sum", "mean")
    return Genotype(cells=cells, aggregation=draw(st.sampled_from(aggregations)))


@settings(max_examples=8, deadline=None)
@given(genotype=genotypes(), seed=st.integers(0, 2**32 - 1))
def test_the_canonical_graph_is_proven_for_any_genotype(genotype: Genotype, seed: int) -> None:
    sizes = {"channels": 4, "cells": 3, "classes": 3, "input": (3, 9, 7)}
    before = lower(genotype, DEFAULTS["cifar"].model_copy(update=sizes))
    randomise(before, seed)
    after, _ = apply(before, CANONICAL)
    proof = prove(before, after, seed=seed)
    assert proof.max_relative <= TOLERANCE
    assert not [node for node in after.nodes() if isinstance(node.op, BatchNorm)]


WITH_ALL = [rewrite for name, rewrite in REWRITES.items() if name != "merge_sums"]
"""Merging with skips includes merging without."""


@settings(max_examples=6, deadline=None)
@given(
    genotype=genotypes(),
    skeleton=st.sampled_from(["cifar", "segmentation"]),
    channels=st.sampled_from([2, 6, 16]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_rewrite_is_proven_for_any_genotype(
    genotype: Genotype, skeleton: str, channels: int, size: tuple[int, int], seed: int
) -> None:
    sizes = {"channels": channels, "cells": 3, "classes": 3, "input": (3, *size)}
    if skeleton == "segmentation":
        sizes["head_channels"] = 5
    before = lower(genotype, DEFAULTS[skeleton].model_copy(update=sizes))
    randomise(before, seed)
    generator = np.random.default_rng(seed)
    for name, weight in before.weights.items():  # near-dead paths and channels among them
        if weight.ndim == 1 and generator.random() < 0.3:
            before.weights[name] = weight * (generator.random(weight.shape) < 0.5)
    folded, _ = apply(before, CANONICAL)
    for rewrite in REWRITES.values():
        for step in prove_each(before, folded, (rewrite,), seed=seed):
            assert step.proof.holds, step
    steps = prove_each(before, folded, WITH_ALL, seed=seed)
    assert [step.rewrite for step in steps] == [rewrite.name for rewrite in WITH_ALL]
    assert all(step.proof.holds for step in steps), steps


def test_a_wrong_rewrite_is_caught_by_the_proof_of_a_plan() -> None:
    sizes = {"channels": 4, "cells": 3}
    graph = lower(load("nasnet-a"), DEFAULTS["cifar"].model_copy(update=sizes))
    randomise(graph)
    folded, _ = apply(graph, CANONICAL)
    right, wrong = prove_each(graph, folded, (REWRITES["pad_channels"], CountThePadding()))
    assert right.proof.holds
    assert wrong.places
    assert not wrong.proof.holds
