"""The driver of passes: it owns iteration, repetition, verification and the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

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


@runtime_checkable
class Rebuild(Protocol):
    """A rewrite that is one choice for many nodes, and so makes the graph anew."""

    name: str

    def rebuild(self, graph: Graph) -> tuple[Graph, list[Applied]]:
        """The other graph, and where it differs; the same graph where there is nothing to do."""


Rewrite = Pass[Any] | Rebuild


@dataclass(frozen=True)
class Applied:
    """One rewrite that happened."""

    rewrite: str
    at: str


def alike_readers(
    graph: Graph, node: Node, alike: Callable[[Node], bool]
) -> tuple[Node, ...] | None:
    """All who read what `node` reads first and are `alike`, in order of addition.

    None unless there are several and `node` is the first, so that each group is found once.
    """
    readers = [graph[name] for name in dict.fromkeys(graph.users(node.operands[0]))]
    found = tuple(reader for reader in readers if alike(reader))
    return found if len(found) > 1 and found[0].name == node.name else None


def apply(graph: Graph, rewrites: Sequence[Rewrite]) -> tuple[Graph, list[Applied]]:
    """Run the rewrites in order on a copy; verify after each.

    A pass runs until it finds nothing more.
    """
    result, log = graph.copy(), list[Applied]()
    for rewrite in rewrites:
        if isinstance(rewrite, Rebuild):
            result, found = rewrite.rebuild(result)
            log += found
        else:
            while found := _sweep(result, rewrite):
                log += found
        verify(result)
    return result, log


def _sweep(graph: Graph, rewrite: Pass[Any]) -> list[Applied]:
    applied = []
    for node in list(graph.nodes()):
        if node.name not in graph:
            continue
        match = rewrite.match(graph, graph[node.name])
        if match is not None:
            rewrite.rewrite(graph, match)
            applied.append(Applied(rewrite.name, node.name))
    return applied
