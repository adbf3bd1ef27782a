"""The certificate of a search: what its genotype is worth under the draws that found it.

Everything is computed from the logits at the ends of the epochs. With a distribution per edge all
probabilities are those of the rule, which puts the edges of a node together and draws M times from
the whole (`searcher/derive.py`); the search itself drew M times on each edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from datac.documents.derivation import (
    CellDerivation,
    Derivation,
    EpochEntropy,
    Move,
    NodeDerivation,
    NodeName,
    TopGenotype,
)
from datac.documents.genotype import Cell, CellKind, Genotype, Node, Path
from datac.errors import BadInput
from searcher.children import Child, most_probable, ranked_children
from searcher.course import Course
from searcher.derive import Choice, child_probabilities, choose, derive, node_distribution
from searcher.gumbel import Layout
from searcher.outcome import versions
from searcher.smallest_move import smallest_move, softmax
from searcher.verdict import undecided, weightless_share

METHOD = "data"
"""Whose derivation is certified: the others choose by other rules, which draw nothing."""

Names = tuple[tuple[CellKind, int], ...]
"""Kind and number of every node of both cells, in one order."""


@dataclass(frozen=True)
class Certificate:
    """The document, and the genotypes that it lists, in its order."""

    derivation: Derivation
    genotypes: tuple[Genotype, ...]


def certify(course: Course, top: int) -> Certificate:
    """Derive again from the last logits, and say how sure that is; `top` genotypes at most.

    BadInput where another method searched, or where the logits lead to another genotype than the
    search wrote.
    """
    draws = _draws(course)
    choices = _choices(course, draws)
    genotypes, entries = _top(course, draws, choices, top)
    cells = {
        kind: _cell(course, kind, choices[kind], draws) for kind in course.result.genotype.cells
    }
    reasons = undecided(cells, course.epochs[-1])
    derivation = Derivation(
        verdict="not decided" if reasons else "decided",
        reasons=reasons,
        genotype_hash=course.result.genotype.hash,
        method=course.result.method,
        draws=draws,
        granularity=course.layout.granularity,
        probability=math.prod(cell.probability for cell in cells.values()),
        cells=cells,
        top=entries,
        entropy=tuple(_entropies(course)),
        versions=versions(),
    )
    return Certificate(derivation, genotypes)


def _draws(course: Course) -> int:
    draws, method = course.result.draws, course.result.method
    if draws is None or method != METHOD:
        raise BadInput(
            f"the run was searched by {method}; datac derive takes searches by {METHOD} alone, "
            "and datac report shows the distributions of any"
        )
    return draws


def _choices(course: Course, draws: int) -> dict[CellKind, tuple[Choice, ...]]:
    """What the rule makes of the last logits, which must be what the search wrote."""
    tables = {kind: softmax(logits[-1], course.layout) for kind, logits in course.logits.items()}
    derived = derive(tables, course.layout, draws, course.result.genotype.aggregation)
    if derived.cells != course.result.genotype.cells:
        if course.result.bounds:
            raise BadInput(
                "the genotype of this run is the most probable one within its bounds, not of all; "
                "datac derive certifies a choice among all"
            )
        raise BadInput(
            "the last logits of metrics.jsonl lead to another genotype than that of "
            "search_result.json; the two are not of one search, so search again"
        )
    return derived.choices


# ---- a node and a cell -----------------------------------------------------------------------


def _cell(
    course: Course, kind: CellKind, choices: tuple[Choice, ...], draws: int
) -> CellDerivation:
    return CellDerivation(
        probability=math.prod(choice.probability for choice in choices),
        weightless_share=weightless_share([path for choice in choices for path in choice.paths]),
        nodes=tuple(_node(course, kind, choice, draws) for choice in choices),
    )


def _node(course: Course, kind: CellKind, choice: Choice, draws: int) -> NodeDerivation:
    layout, logits = course.layout, course.logits[kind]
    move = smallest_move(choice.node, logits[-1], layout, draws)
    runner_up = _runner_up(choice, layout, draws)
    # (E, all columns of the node)
    way = np.stack([logits[:, c.group, c.index] for c in layout.of_node(choice.node)], axis=-1)
    steps = np.diff(way, axis=0, prepend=0.0)
    return NodeDerivation(
        node=choice.node,
        paths=choice.paths,
        probability=choice.probability,
        uniform_probability=uniform_probability(choice, layout, draws),
        runner_up=() if runner_up is None else _paths(layout, choice.node, runner_up),
        runner_up_probability=choice.runner_up_probability,
        margin=choice.margin,
        smallest_move=None
        if move is None
        else Move(operation=move.column.operation, input=move.column.input, by=move.by),
        last_step=float(np.abs(steps[-1]).max()) / course.steps_of_last_epoch,
        travel_ratio=travel_ratio(choice.node, logits, layout),
        entropy=node_entropy(choice.node, softmax(logits[-1], layout), layout),
        chosen_since=_chosen_since(choice, logits, course, draws),
    )


def _runner_up(choice: Choice, layout: Layout, draws: int) -> Child | None:
    """The most probable child that was not chosen."""
    ranked = ranked_children(choice.none, np.array(choice.distribution), draws)
    return next((c for c in ranked if _paths(layout, choice.node, c) != choice.paths), None)


def _paths(layout: Layout, node: int, child: Child) -> tuple[Path, ...]:
    columns = layout.paths(node)
    found = [columns[index] for index in child.paths]
    return tuple(Path(operation=c.operation, input=c.input) for c in found if c.input is not None)


def uniform_probability(choice: Choice, layout: Layout, draws: int) -> float:
    """The probability of so many paths of the node if all logits were equal."""
    table = softmax(np.zeros(layout.shape), layout)
    none, paths = node_distribution(choice.node, table, layout)
    return float(child_probabilities(none, paths[: len(choice.paths)], draws)[-1])


def travel_ratio(node: int, logits: NDArray[np.float64], layout: Layout) -> float:
    """|z_E|² / Σ_e |z_e - z_(e-1)|² of the node's logits, z_0 = 0.

    In the mean 1 for a random walk; E for a straight line. A common part of the logits of one
    distribution, which its probabilities do not depend on, is taken away first. The first logits
    of a search differ from 0 by 0.001. logits: (E, G, n).
    """
    went = walked = 0.0
    for group in sorted({column.group for column in layout.of_node(node)}):
        way = logits[:, group, : len(layout.columns[group])]
        way = way - way.mean(axis=1, keepdims=True)
        went += float(np.square(way[-1]).sum())
        walked += float(np.square(np.diff(way, axis=0, prepend=0.0)).sum())
    return went / walked if walked else 0.0


def node_entropy(node: int, table: NDArray[np.float64], layout: Layout) -> float:
    """Of the node's distribution, or the mean of those of its edges, as a share of the uniform.

    table: (G, n) probabilities.
    """
    shares = []
    for group in sorted({column.group for column in layout.of_node(node)}):
        p = table[group, : len(layout.columns[group])]
        entropy = -float(np.sum(p * np.log(np.where(p > 0, p, 1.0))))
        shares.append(entropy / math.log(len(p)) if len(p) > 1 else 0.0)
    return math.fsum(shares) / len(shares)


def _chosen_since(choice: Choice, logits: NDArray[np.float64], course: Course, draws: int) -> int:
    """The first epoch of the last unbroken row of epochs that end with this choice."""
    tables = (softmax(values, course.layout) for values in reversed(logits))
    return course.agreeing_since(
        choose(choice.node, table, course.layout, draws).paths == choice.paths for table in tables
    )


def _entropies(course: Course) -> Iterator[EpochEntropy]:
    layout = course.layout
    tables = {kind: softmax(logits, layout) for kind, logits in course.logits.items()}
    for index, (epoch, steps) in enumerate(zip(course.epochs, course.steps, strict=True)):
        nodes = {
            kind: tuple(node_entropy(node, table[index], layout) for node in layout.node_numbers)
            for kind, table in tables.items()
        }
        yield EpochEntropy(epoch=epoch, steps=steps, nodes=nodes)


# ---- the most probable genotypes -------------------------------------------------------------


def _top(
    course: Course, draws: int, choices: dict[CellKind, tuple[Choice, ...]], count: int
) -> tuple[tuple[Genotype, ...], tuple[TopGenotype, ...]]:
    """The choice of the rule first, then the most probable other children, `count` in all.

    The choice need not be the most probable child: the rule compares codes, and a child is two of
    them, with `none` and without. Fewer where so many do not exist.
    """
    layout = course.layout
    named = [(kind, choice) for kind, of_kind in choices.items() for choice in of_kind]
    names = tuple((kind, choice.node) for kind, choice in named)
    chosen = tuple(choice.paths for _, choice in named)
    ranked = most_probable(
        [ranked_children(c.none, np.array(c.distribution), draws) for _, c in named]
    )
    children = (
        (
            tuple(
                _paths(layout, node, child) for (_, node), child in zip(names, each, strict=True)
            ),
            math.prod(child.probability for child in each),
        )
        for each in ranked
    )
    others = islice((child for child in children if child[0] != chosen), count - 1)
    rule = (chosen, math.prod(choice.probability or 0.0 for _, choice in named))
    pairs = [
        _genotype(course, names, paths, chosen, (rank, probability))
        for rank, (paths, probability) in enumerate([rule, *others], start=1)
    ]
    genotypes, entries = zip(*pairs, strict=True)
    return genotypes, entries


def _genotype(
    course: Course,
    names: Names,
    paths: tuple[tuple[Path, ...], ...],
    chosen: tuple[tuple[Path, ...], ...],
    ranked: tuple[int, float],
) -> tuple[Genotype, TopGenotype]:
    """One genotype, which carries its network and says where it comes from, and its entry.

    names, paths, chosen: a node each. ranked: its place in the list and its probability.
    """
    place, probability = ranked
    found = course.result.genotype
    cells = {
        kind: Cell(
            nodes=tuple(Node(paths=p) for (k, _), p in zip(names, paths, strict=True) if k == kind),
            output=cell.output,
        )
        for kind, cell in found.cells.items()
    }
    what = "the choice of the rule" if place == 1 else f"number {place} of the most probable"
    source = f"datac derive: {what}, of probability {probability:.3g}"
    provenance = found.provenance and found.provenance.model_copy(update={"source": source})
    genotype = found.model_copy(update={"cells": cells, "provenance": provenance})
    differing = [
        NodeName(cell=kind, node=node)
        for (kind, node), these, those in zip(names, paths, chosen, strict=True)
        if these != those
    ]
    return genotype, TopGenotype(
        file=f"genotype-{place}.json",
        hash=genotype.hash,
        probability=probability,
        differs_in=tuple(differing),
    )
