"""The driver of passes: it owns iteration, repetition, verification and the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from compiler.graph import Graph, Node
from compiler.verify import verify

M = TypeVar("M")


class Pass(Protocol[M]):
    """One local question about one node. No pass knows of another."""

    name: str

    def match(self, graph: Graph, node: Node) -> M | None:
        """What is to be rewritten at this node, if anything."""

    def rewrite(self, graph: Graph, match: M) -> None:
        """Rewrite it through the graph's edits. Nodes made keep the origins of those merged."""


@dataclass(frozen=True)
class Applied:
    """One rewrite that happened."""

    rewrite: str
    at: str


def apply(graph: Graph, passes: tuple[Pass[M], ...]) -> tuple[Graph, list[Applied]]:
    """Run the passes in order on a copy, each until it finds nothing more; verify after each."""
    result, log = graph.copy(), []
    for rewrite in passes:
        while found := _sweep(result, rewrite):
            log += found
        verify(result)
    return result, log


def _sweep(graph: Graph, rewrite: Pass[M]) -> list[Applied]:
    applied = []
    for node in list(graph.nodes()):
        if node.name not in graph:
            continue
        match = rewrite.match(graph, graph[node.name])
        if match is not None:
            rewrite.rewrite(graph, match)
            applied.append(Applied(rewrite.name, node.name))
    return applied
