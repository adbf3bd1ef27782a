"""One cell of a canonical ONNX: its node values and paths as found, and which path is which.

`find_cell` looks at the topology alone. `match_cell` then lays a cell of the genotype over it:
which value is which node, which addend is which path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import numpy as np

from datac.documents.genotype import FIRST_NODE, Cell, Path
from exporters.onnx_view import OnnxNode, OnnxView
from exporters.path_patterns import Trace, trace_path, trace_preprocess

MOST_INPUTS = 4
"""A cell has two inputs; where damage shows more, those read most are tried."""


@dataclass(frozen=True)
class NodeFound:
    """A value that sums paths. `factor`: what the sum is multiplied by, None without `Mul`."""

    value: str
    paths: tuple[Trace, ...]
    glue: tuple[OnnxNode, ...]
    factor: float | None


@dataclass(frozen=True)
class CellFound:
    """What one concatenation leads to, up to the preprocessing of the cell's inputs."""

    concat: OnnxNode
    nodes: dict[str, NodeFound]
    inputs: dict[str, Trace]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The concatenated values."""
        return self.concat.inputs


@dataclass(frozen=True)
class PathPair:
    """A path of the genotype and what stands for it; one of them is None where it is alone."""

    node: int
    index: int | None
    path: Path | None
    trace: Trace | None


@dataclass(frozen=True)
class CellMatch:
    """`numbers`: value → number as genotypes count (0 and 1 are the cell's inputs)."""

    found: CellFound
    numbers: dict[str, int]
    pairs: tuple[PathPair, ...]

    @property
    def inputs(self) -> dict[int, Trace]:
        """The preprocessing of input 0 and 1, where found."""
        named = {self.numbers[v]: t for v, t in self.found.inputs.items() if v in self.numbers}
        return {number: trace for number, trace in named.items() if number < FIRST_NODE}

    @property
    def nodes(self) -> dict[int, NodeFound]:
        """The nodes that were recognised, by number."""
        return {self.numbers[v]: n for v, n in self.found.nodes.items() if v in self.numbers}

    def fits(self, pair: PathPair) -> bool:
        """Whether operation and source are those of the genotype."""
        return (
            pair.path is not None
            and pair.trace is not None
            and pair.path.operation == pair.trace.operation
            and pair.path.input == self.numbers.get(pair.trace.source)
        )

    def misfits(self, cell: Cell) -> int:
        """How far it is from the genotype's cell: 0 where every path and output is in place."""
        paths = sum(not self.fits(pair) for pair in self.pairs)
        return paths + (tuple(map(self.numbers.get, self.found.outputs)) != cell.output)


# ---- by topology alone -----------------------------------------------------------------------


def find_cell(view: OnnxView, value: str) -> CellFound | None:
    """The cell whose output is this value; None where it is no concatenation."""
    concat = view.maker(value, "Concat")
    if concat is None or not concat.inputs:
        return None
    nodes: dict[str, NodeFound] = {}
    inputs: dict[str, Trace] = {}
    # ONNX spells an operand that is left out "", and a variadic operation may have some.
    waiting = [value for value in dict.fromkeys(concat.inputs) if value]
    while waiting:
        node = _node(view, waiting.pop(0), concat.inputs)
        nodes[node.value] = node
        for source in (path.source for path in node.paths):
            if source in nodes or source in inputs or source in waiting or not source:
                continue
            preprocess = trace_preprocess(view, source)
            if preprocess is not None:
                inputs[source] = preprocess
            elif view.maker(source) is not None:
                waiting.append(source)
    return CellFound(concat, nodes, inputs)


def _node(view: OnnxView, value: str, outputs: tuple[str, ...]) -> NodeFound:
    """What a value sums: a chain of `Add`, an `Identity` around a single path, `Mul` on top."""
    glue: list[OnnxNode] = []
    total, factor = value, None
    scale = view.maker(value, "Mul")
    if scale is not None:
        total, factor = _scaled(view, scale)
        glue.append(scale)
    addends, waiting, added = [], [total], set[int]()
    while waiting:
        at = waiting.pop()
        add = view.maker(at, "Add")
        # A value that is concatenated is a node of its own, even where a damaged sum reads it;
        # and sums of sums that double are not written out.
        if add is None or add.index in added or (at != total and at in outputs):
            addends.append(at)
        else:
            added.add(add.index)
            glue.append(add)
            waiting += reversed(add.inputs)
    single = view.maker(total, "Identity")
    inner = single.inputs[0] if single is not None and addends == [total] else ""
    # A path has one reader, its sum; where there are more, the Identity is itself the path, and
    # what it should be summed with is gone.
    alone = inner not in outputs and len(view.readers(inner)) == 1
    if single is not None and alone and trace_path(view, inner).operation:
        glue.append(single)
        addends = [inner]
    paths = tuple(trace_path(view, addend) for addend in addends)
    return NodeFound(value, paths, tuple(glue), factor)


def _scaled(view: OnnxView, scale: OnnxNode) -> tuple[str, float | None]:
    for value, constant in (scale.inputs, reversed(scale.inputs)):
        array = view.array(constant)
        if array is not None and array.size == 1 and array.dtype.kind in "fiu":
            return value, float(np.float64(array.item()))
    return scale.inputs[0], None


# ---- against the genotype --------------------------------------------------------------------


def matches(found: CellFound, cell: Cell) -> list[CellMatch]:
    """The cell of the genotype over what was found, one for each way to say which input is which.

    The same preprocess is never both inputs.
    """
    wanted = sorted(used_inputs(cell))
    often = sorted(found.inputs, key=lambda value: -_reads(found, value))[:MOST_INPUTS]
    first = [*sorted(often, key=list(found.inputs).index), *[""] * len(wanted)]
    ways = dict.fromkeys(permutations(first, len(wanted)))
    whole = [way for way in ways if "" not in way] or list(ways)
    return [
        match_cell(found, cell, {v: n for v, n in zip(way, wanted, strict=True) if v})
        for way in whole
    ]


def used_inputs(cell: Cell) -> set[int]:
    """Which of the inputs 0 and 1 the cell's used nodes read."""
    used = cell.used()
    sources = {p.input for number, node in cell.numbered() if number in used for p in node.paths}
    return {source for source in sources if source < FIRST_NODE}


def _reads(found: CellFound, value: str) -> int:
    return sum(path.source == value for node in found.nodes.values() for path in node.paths)


def match_cell(found: CellFound, cell: Cell, inputs: Mapping[str, int]) -> CellMatch:
    """Name the values, `inputs` (value → 0 or 1) being given, then pair the paths."""
    numbers = _Naming(found, cell, inputs).name_all()
    nodes = {number: value for value, number in numbers.items()}
    pairs: list[PathPair] = []
    used = cell.used()
    for number, node in cell.numbered():
        if number in used:
            value = nodes.get(number)
            traces = found.nodes[value].paths if value is not None else ()
            pairs += _pair(number, node.paths, traces, numbers)
    return CellMatch(found, numbers, tuple(pairs))


class _Naming:
    """Says which value is which node: by what leads to it, by its place, by who reads it."""

    def __init__(self, found: CellFound, cell: Cell, inputs: Mapping[str, int]) -> None:
        self._found, self._cell = found, cell
        self._numbers = dict(inputs)
        used = cell.used()
        self._wanted = [(number, node) for number, node in cell.numbered() if number in used]
        self._free = {number for number, _ in self._wanted}

    def name_all(self) -> dict[str, int]:
        self._by_content()
        for value, number in zip(self._found.outputs, self._cell.output, strict=False):
            self._take(value, number)
        # Downwards: whoever reads a node has a higher number, and so a name already.
        for number, node in reversed(self._wanted):
            values = {name: value for value, name in self._numbers.items()}
            if number in values:
                self._by_readers(node.paths, self._found.nodes[values[number]].paths)
        return self._numbers

    def _take(self, value: str, number: int) -> None:
        if value not in self._numbers and number in self._free and value in self._found.nodes:
            self._numbers[value] = number
            self._free.discard(number)

    def _by_content(self) -> None:
        """Where all that leads to a value is as in the genotype, the value is that node."""
        known: dict[tuple[tuple[str, str], ...], str] = {}
        expected = self._expected_content(known)
        found = self._found_content(known)
        for value, number in zip(self._found.outputs, self._cell.output, strict=False):
            if found.get(value) == expected[number]:
                self._take(value, number)
        for value, content in found.items():
            same = [number for number in self._free if expected[number] == content]
            if len(same) == 1:
                self._take(value, same[0])

    def _expected_content(self, known: dict[tuple[tuple[str, str], ...], str]) -> dict[int, str]:
        content = {0: "input 0", 1: "input 1"}
        for number, node in self._wanted:
            paths = sorted((path.operation, content[path.input]) for path in node.paths)
            content[number] = known.setdefault(tuple(paths), f"sum {len(known)}")
        return content

    def _found_content(self, known: dict[tuple[tuple[str, str], ...], str]) -> dict[str, str]:
        content = {value: f"input {number}" for value, number in self._numbers.items()}
        for node in _upwards(self._found):
            paths = sorted(
                (path.operation or f"unknown {path.value}", content.get(path.source, path.source))
                for path in node.paths
            )
            content[node.value] = known.setdefault(tuple(paths), f"sum {len(known)}")
        return content

    def _by_readers(self, paths: tuple[Path, ...], traces: tuple[Trace, ...]) -> None:
        beside = list(zip(paths, traces, strict=False))
        anywhere = [(path, trace) for path in paths for trace in traces]
        same = [(p, t) for p, t in (*beside, *anywhere) if p.operation == t.operation]
        for path, trace in (*same, *beside):
            if path.input >= FIRST_NODE:
                self._take(trace.source, path.input)


def _upwards(found: CellFound) -> list[NodeFound]:
    """The nodes, each after those that it reads."""
    done: dict[str, NodeFound] = {}
    waiting = list(reversed(found.nodes))
    while waiting:
        value = waiting.pop()
        if value in done:
            continue
        node = found.nodes[value]
        below = [p.source for p in node.paths if p.source in found.nodes and p.source not in done]
        if below:
            waiting += [value, *below]
        else:
            done[value] = node
    return list(done.values())


def _pair(
    number: int, paths: tuple[Path, ...], traces: tuple[Trace, ...], numbers: Mapping[str, int]
) -> Iterable[PathPair]:
    """Paths beside addends: the equal ones first, then those that have most in common."""

    def alike(index: int, at: int) -> tuple[bool, bool]:
        path, trace = paths[index], traces[at]
        same = path.operation == trace.operation
        return same, numbers.get(trace.source) == path.input

    left, right = list(range(len(paths))), list(range(len(traces)))
    taken: dict[int, int] = {}
    tiers: tuple[Callable[[int, int], bool], ...] = (
        lambda index, at: index == at and all(alike(index, at)),
        lambda index, at: all(alike(index, at)),
        lambda index, at: alike(index, at)[0],
        lambda index, at: alike(index, at)[1],
        lambda *_: True,
    )
    for fits in tiers:
        for index in list(left):
            fitting = [at for at in right if fits(index, at)]
            at = min(fitting, key=partial(_distance, index), default=None)
            if at is not None:
                taken[index] = at
                left.remove(index)
                right.remove(at)
    yield from _in_pairs(number, paths, traces, taken)


def _distance(a: int, b: int) -> int:
    return abs(a - b)


def _in_pairs(
    number: int, paths: tuple[Path, ...], traces: tuple[Trace, ...], taken: Mapping[int, int]
) -> Iterable[PathPair]:
    for index, path in enumerate(paths):
        trace = traces[taken[index]] if index in taken else None
        yield PathPair(number, index, path, trace)
    for at in sorted(set(range(len(traces))) - set(taken.values())):
        yield PathPair(number, None, None, traces[at])
