"""What a runtime says of its own kernels: how long each took, and what of the file it computes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import onnx

from exporters.targets.target import Arrays, BuildOptions, Engine


@dataclass(frozen=True)
class Kernel:
    """One kernel of a loaded engine.

    covers: the ONNX nodes that it computes, by name; none for what the runtime adds by itself, such
    as a change of layout. times_ms: of each call.
    """

    name: str
    kind: str
    covers: frozenset[str]
    times_ms: tuple[float, ...]


@runtime_checkable
class MayProfile(Protocol):
    """A target that can say what its kernels cost."""

    def profile(
        self, folder: Path, engine: Engine, options: BuildOptions, inputs: Arrays, calls: int
    ) -> list[Kernel]:
        """The kernels in the order in which they run, over so many calls after a warm one."""


def covered(model: onnx.ModelProto, ends: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Kernel → the nodes that lie between its value and the values of other kernels.

    ends: kernel → the value of `model` that it ends in. A node that several need (one ReLU that a
    runtime computes within each of its readers) belongs to each of them.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    known = {*ends.values()}
    return {
        kernel: frozenset(_between(value, makers, known - {value}))
        for kernel, value in ends.items()
    }


def _between(value: str, makers: Mapping[str, onnx.NodeProto], known: Collection[str]) -> set[str]:
    found: set[str] = set()
    left = [value]
    while left:
        node = makers.get(left.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        left += [name for name in node.input if name not in known]
    return found
