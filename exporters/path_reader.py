"""Which paths a canonical ONNX holds: read from its topology, independent of what emitted it.

The walk goes backwards from the output: head, last cell, the cells that its inputs read, stem. It
finds every path of the genotype exactly once, with its operation, source and attributes, and
accounts for every node; names are quoted and never believed. Weights are not its business
(`exporters.structure` compares them), nor the order in which a node adds its paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import onnx

from compiler.cell import CellPlan
from compiler.skeletons import SKELETONS
from datac.documents.genotype import FIRST_NODE, Genotype
from datac.documents.network import Network
from datac.documents.sentences import counted
from exporters.cell_reader import CellMatch, NodeFound, PathPair, used_inputs
from exporters.cell_walk import CellWalk, FoundCells, live_cells
from exporters.frame_reader import FrameReader
from exporters.onnx_view import OnnxNode, OnnxView
from exporters.path_patterns import Site, Trace, attribute_faults, faults


@dataclass(frozen=True)
class Reading:
    """How many of the genotype's paths were found as they should be, and what differs.

    A model can hold every path and differ elsewhere: only `differences` says that none does.
    """

    found: int
    expected: int
    differences: tuple[str, ...]


def read_paths(model: onnx.ModelProto, genotype: Genotype, network: Network) -> Reading:
    """Read a canonical ONNX against genotype and network. BadInput where its nodes form a circle.

    Cells that reach no output are not part of a network, and nor are their paths.
    """
    view = OnnxView(model)
    plans = live_cells(SKELETONS[network.skeleton].plan(network), genotype)
    found = FoundCells(view)

    def reading(anchors: dict[int, str]) -> Reading:
        walk = CellWalk(found, genotype, FrameReader(view, network), plans, anchors)
        walk.run()
        return _Account(walk).reading()

    best = reading({})
    if best.differences:
        # One wrong wire between cells would make the walk take each cell for another. The
        # order of the file says which is which too; what differs least explains the model best.
        others = [reading(anchors) for anchors in _by_order(found, list(plans))]
        best = min([best, *others], key=lambda each: len(each.differences))
    return best


def _by_order(found: FoundCells, live: list[int]) -> Iterator[dict[int, str]]:
    """The cells by their order in the file, if all are there or all but one."""
    values = found.in_order()
    if len(live) - 1 <= len(values) <= len(live):
        for indices in combinations(live, len(values)):
            yield dict(zip(indices, values, strict=True))


class _Account:
    """Every path, and every node of the model: where it belongs and how it differs."""

    def __init__(self, walk: CellWalk) -> None:
        self._walk, self._view = walk, walk.view
        self._owners: dict[int, str] = {}
        self._shared: Counter[tuple[str, str]] = Counter()
        self._differences: list[str] = []
        self._names = self._places()
        self._found = 0
        self._expected = 0

    def reading(self) -> Reading:
        """The account."""
        for index, plan in self._walk.plans.items():
            match = self._walk.cells.get(index)
            if match is None:
                self._lost_cell(index)
            else:
                self._cell(match, plan)
        frame = self._walk.frame
        self._claim_all(frame.claims)
        self._differences += frame.differences
        last, features = max(self._walk.plans), self._walk.features
        if features is not None and features != self._walk.results.get(last):
            self._say("head", f"reads {self._source(features)}, not the output of cell{last}")
        self._rest()
        return Reading(self._found, self._expected, tuple(dict.fromkeys(self._differences)))

    def _places(self) -> dict[str, str]:
        """What to call a value in a sentence about another cell."""
        names = {value: f"cell{at}" for at, value in self._walk.results.items()}
        names |= {v: "the stem" for at, v in self._walk.results.items() if at < 0}
        for index, match in self._walk.cells.items():
            for value, number in match.numbers.items():
                names[value] = f"cell{index}/{_called(number)}"
        return names

    def _say(self, place: str, phrase: str) -> None:
        self._differences.append(f"{place}: {phrase}")

    def _claim_all(self, claims: list[tuple[str, OnnxNode]]) -> None:
        for owner, node in claims:
            before = self._owners.setdefault(node.index, owner)
            if before != owner:
                self._shared[before, owner] += 1

    # ---- a cell ------------------------------------------------------------------------------

    def _lost_cell(self, index: int) -> None:
        cell, used = self._walk.cell(index), self._walk.cell(index).used()
        paths = sum(len(node.paths) for number, node in cell.numbered() if number in used)
        self._expected += paths
        self._say(f"cell{index}", f"not found, and with it none of its {counted(paths, 'path')}")

    def _cell(self, match: CellMatch, plan: CellPlan) -> None:
        place = f"cell{plan.index}"
        self._claim_all([(place, match.found.concat)])
        concat = attribute_faults("its concatenation", match.found.concat, {"axis": 1})
        for phrase in concat:
            self._say(place, phrase)
        wanted = self._walk.cell(plan.index).output
        if tuple(map(match.numbers.get, match.found.outputs)) != wanted:
            held = [self._source(value, match) for value in match.found.outputs]
            self._say(
                place,
                f"concatenates {', '.join(held)} where {', '.join(map(_input, wanted))} "
                "is expected",
            )
        for number in sorted(used_inputs(self._walk.cell(plan.index))):
            self._preprocess(match.inputs.get(number), number, plan)
        for pair in match.pairs:
            self._path(pair, match, plan)
        for number, node in sorted(match.nodes.items()):
            self._sum(f"{place}/node{number}", node)

    def _preprocess(self, trace: Trace | None, number: int, plan: CellPlan) -> None:
        place = f"cell{plan.index}/preprocess{number}"
        if trace is None:
            self._say(place, "not found: no path of the cell reads this input")
            return
        self._claim_all([(place, node) for node in trace.nodes])
        factorized = number == 0 and plan.reduced_before
        if (trace.operation == "factorized") != factorized:
            kinds = ["a 1x1 convolution", "a factorized reduction"]
            self._say(place, f"expected {kinds[factorized]}, found {kinds[not factorized]}")
        else:
            stride = plan.stride_before if factorized else 1
            if found := faults(self._view, trace, Site(plan.channels, stride, 1, factorized)):
                self._say(place, "; ".join(found))
        at = plan.index - 2 + number
        if trace.source != self._walk.results.get(at):
            wanted = "the stem" if at < 0 else f"cell{at}"
            self._say(place, f"reads {self._source(trace.source)}, not the output of {wanted}")

    def _path(self, pair: PathPair, match: CellMatch, plan: CellPlan) -> None:
        node = f"cell{plan.index}/node{pair.node}"
        trace, path = pair.trace, pair.path
        if path is None:
            assert trace is not None
            self._say(node, f"also sums {self._found_path(trace, match)}, no path of the genotype")
            self._claim_all(
                [(node, extra) for extra in trace.nodes if extra.index not in self._owners]
            )
            return
        self._expected += 1
        place = f"{node}/path{pair.index}"
        wanted = f"{path.operation} on {_input(path.input)}"
        if trace is None:
            self._say(place, f"{wanted} is missing")
            return
        self._claim_all([(place, each) for each in trace.nodes])
        if not match.fits(pair):
            self._say(place, f"expected {wanted}, found {self._found_path(trace, match)}")
            return
        outside = path.input < FIRST_NODE
        reduces = outside and plan.kind == "reduction"
        site = Site(plan.channels, plan.stride if outside else 1, plan.dilation, reduces)
        found = faults(self._view, trace, site)
        self._found += not found
        if found:
            self._say(place, f"{path.operation}: {'; '.join(found)}")

    def _found_path(self, trace: Trace, match: CellMatch) -> str:
        if trace.operation is None:
            end = trace.roles.get("end")
            if end is None:
                return f'the value "{trace.value}" itself'
            return f"{end.op_type} ({end.label}), which ends no operation of the search space"
        return f"{trace.operation} on {self._source(trace.source, match)}"

    def _source(self, value: str, match: CellMatch | None = None) -> str:
        if match is not None and value in match.numbers:
            return _input(match.numbers[value])
        return self._names.get(value, f'"{value}"')

    def _sum(self, place: str, node: NodeFound) -> None:
        self._claim_all([(place, each) for each in node.glue])
        mean = self._walk.genotype.aggregation == "mean"
        scaled = any(each.op_type == "Mul" for each in node.glue)
        if scaled and not mean:
            self._say(place, f"multiplies its sum by {node.factor} where a plain sum is expected")
        if mean and not scaled:
            self._say(place, "sums its paths where their mean is expected")
        if mean and scaled and not _is_share(node.factor, len(node.paths)):
            wanted = f"1/{len(node.paths)}"
            self._say(place, f"multiplies its sum by {node.factor} where {wanted} is expected")
        if not any(each.op_type in ("Add", "Identity") for each in node.glue):
            self._say(place, "sums nothing")

    # ---- what is left ------------------------------------------------------------------------

    def _rest(self) -> None:
        for (first, second), count in self._shared.items():
            nodes = "a node" if count == 1 else f"{count} nodes"
            self._say(second, f"shares {nodes} with {first}, where each has its own")
        for name, tensor in self._view.tensors.items():
            readers = self._view.readers(name)
            if not readers:
                self._differences.append(f"model: nothing reads the initialiser {name}")
            if len(readers) > 1 and tensor.name:
                labels = " and ".join(node.label for node in readers)
                self._say(self._owner(readers[0]), f"one initialiser, {name}, serves {labels}")
        orphans = [node for node in self._view.nodes if node.index not in self._owners]
        for node in orphans:
            self._differences.append(
                f"model: node {node.label} ({node.op_type}) belongs to no path"
            )

    def _owner(self, node: OnnxNode) -> str:
        return self._owners.get(node.index, "model")


def _called(number: int) -> str:
    return f"preprocess{number}" if number < FIRST_NODE else f"node{number}"


def _input(number: int) -> str:
    return f"input {number}"


def _is_share(factor: float | None, count: int) -> bool:
    """Whether a factor is 1 / count, as exactly as float32 holds it."""
    return factor is not None and abs(factor * count - 1.0) < 1e-6
