"""A place in a graph to add nodes at: names and origins are prefixed by where one stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from compiler.graph import Graph, Origin
from compiler.ops import Op, TensorType


@dataclass(frozen=True)
class Scope:
    """Names begin with `prefix`; nodes get `origin`."""

    graph: Graph
    prefix: str = ""
    origin: Origin = field(default_factory=Origin)

    def inside(self, segment: str, **origin: Any) -> Scope:
        """The scope one level down; without an origin of its own the segment names the part."""
        if not origin:
            part = f"{self.origin.part}/{segment}" if self.origin.part else segment
            origin = {"part": part}
        return replace(self, prefix=self.name(segment), origin=replace(self.origin, **origin))

    def name(self, local: str) -> str:
        """The full name of a node here."""
        return f"{self.prefix}/{local}" if self.prefix else local

    def add(self, local: str, op: Op, *operands: str) -> str:
        """Add a node here."""
        return self.graph.add(self.name(local), op, *operands, origin=self.origin)

    def type(self, value: str) -> TensorType:
        """The type of a value."""
        return self.graph[value].type
