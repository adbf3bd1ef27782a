"""Two ONNX graphs, node by node: what differs, each in one sentence that leads with its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from exporters.onnx_view import OnnxNode, OnnxView

Placed = tuple[int, str]
"""Where the sentence stands among the others (the index of an expected node), and it."""

PLACE = re.compile(r"cell\d+/node\d+/path\d+/[^/]+|cell\d+/node\d+")


def place_of(name: str) -> str:
    """`cell3/node2/path0/sep_conv_3x3/relu0` → the path, `cell3/node2/sum` → the node."""
    found = PLACE.match(name)
    if found is not None:
        return found.group()
    return name.rsplit("/", 1)[0] or "model"


class GraphDifferences:
    """A found graph over an expected one.

    Nodes are paired by name; those left over by their order or by what they compute from what, so
    that a graph that was renamed is compared all the same. `values`: found name → expected name.
    """

    def __init__(self, found: OnnxView, expected: OnnxView) -> None:
        self.found, self.expected = found, expected
        self.values: dict[str, str] = {}
        self.swapped_reads: dict[str, str] = {}
        """Wanted weight → the weight that a node reads in its place."""
        self.doubted: set[str] = set()
        """Expected initialisers whose absence another sentence explains."""
        self._pairs: dict[int, OnnxNode] = {}
        self._renamed: list[tuple[str, str]] = []
        self._stand_ins: set[tuple[str, str]] = set()
        self._explained: set[int] = set()
        self._explained_extra: set[int] = set()
        self._pair_tensors()
        self._pair_nodes()

    def renamed(self) -> list[str]:
        """One sentence on all names that differ while what they name is the same."""
        if not self._renamed:
            return []
        held, wanted = self._renamed[0]
        count = len(self._renamed)
        what = "name differs" if count == 1 else "names differ"
        return [f'model: {count} {what} (first: "{held}" where "{wanted}" is expected)']

    def differences(self) -> list[Placed]:
        """Sums first, since they explain what else looks different around them."""
        result = self._sums()
        for wanted in self.expected.nodes:
            held = self._pairs.get(wanted.index)
            if held is not None and wanted.index not in self._explained:
                result += self._node(held, wanted)
        return [*result, *self._missing(), *self._extra()]

    def place(self, weight: str) -> Placed:
        """The place of an initialiser: that of the node that should read it."""
        readers = self.expected.readers(weight)
        return (readers[0].index, place_of(readers[0].name)) if readers else (-1, "model")

    # ---- pairing -----------------------------------------------------------------------------

    def _pair_tensors(self) -> None:
        left: dict[bytes, list[str]] = {}
        for name in self.expected.tensors:
            if name not in self.found.tensors:
                left.setdefault(self._bytes(self.expected, name), []).append(name)
        for name in self.found.tensors if left else ():
            same = left.get(self._bytes(self.found, name), [])
            if name not in self.expected.tensors and same:
                self._rename(name, same.pop(0))

    def _pair_nodes(self) -> None:
        by_name = {node.name: node for node in self.expected.nodes}
        waiting = []
        for node in self.found.nodes:
            twin = by_name.pop(node.name, None)
            if twin is None:
                waiting.append(node)
            else:
                self._pair(node, twin)
        left = list(by_name.values())
        if [node.op_type for node in waiting] == [twin.op_type for twin in left]:
            for node, twin in zip(waiting, left, strict=True):
                self._pair_renamed(node, twin)
        else:
            self._pair_by_content(waiting, left)

    def _pair_by_content(self, waiting: list[OnnxNode], left: list[OnnxNode]) -> None:
        by_content: dict[str, list[OnnxNode]] = {}
        for twin in left:
            by_content.setdefault(_content(twin, twin.inputs), []).append(twin)
        for node in waiting:
            same = by_content.get(_content(node, self._inputs(node)))
            if same:
                self._pair_renamed(node, same.pop(0))

    def _pair_renamed(self, node: OnnxNode, twin: OnnxNode) -> None:
        self._pair(node, twin)
        self._renamed.append((node.name, twin.name))
        taken = {*self.values.values(), *self.found.tensors}
        for held, wanted in zip(node.inputs, twin.inputs, strict=False):
            # A weight whose values differ as well: known by the node that reads it.
            new = held in self.found.tensors and held not in self.expected.tensors
            if new and held not in self.values and wanted in self.expected.tensors.keys() - taken:
                self._rename(held, wanted)

    def _pair(self, node: OnnxNode, twin: OnnxNode) -> None:
        self._pairs[twin.index] = node
        for held, wanted in zip(node.outputs, twin.outputs, strict=False):
            if held != wanted:
                # Where the node's own name differs as well, that is said once.
                self.values[held] = wanted
                if node.name == twin.name:
                    self._renamed.append((held, wanted))

    def _rename(self, held: str, wanted: str) -> None:
        self.values[held] = wanted
        self._renamed.append((held, wanted))

    def _inputs(self, node: OnnxNode) -> tuple[str, ...]:
        return tuple(self.values.get(name, name) for name in node.inputs)

    @staticmethod
    def _bytes(view: OnnxView, name: str) -> bytes:
        """Type, shape and values."""
        array = view.array(name)
        assert array is not None
        return repr((array.dtype, array.shape)).encode() + array.tobytes()

    # ---- nodes -------------------------------------------------------------------------------

    def _node(self, held: OnnxNode, wanted: OnnxNode) -> list[Placed]:
        place, phrases = place_of(wanted.name), []
        if held.op_type != wanted.op_type:
            phrases.append(f"is {held.op_type} where {wanted.op_type} is expected")
        else:
            for key in sorted({*held.attributes, *wanted.attributes}):
                values = held.attributes.get(key), wanted.attributes.get(key)
                if values[0] != values[1]:
                    phrases.append(f"has {key} {values[0]} where {values[1]} is expected")
        phrases += self._wires(self._inputs(held), wanted)
        return [(wanted.index, f"{place}: node {wanted.name} {phrase}") for phrase in phrases]

    def _wires(self, held: tuple[str, ...], wanted: OnnxNode) -> list[str]:
        phrases = []
        for slot in range(max(len(held), len(wanted.inputs))):
            found = held[slot] if slot < len(held) else ""
            right = wanted.inputs[slot] if slot < len(wanted.inputs) else ""
            if found == right or (found, right) in self._stand_ins:
                continue
            if found in self.expected.tensors and right in self.expected.tensors:
                self.swapped_reads[right] = found
                continue
            self.doubted.add(right)
            phrases.append(f"reads {found or 'nothing'} where {right or 'nothing'} is expected")
        return phrases

    def _missing(self) -> list[Placed]:
        gone = [
            node
            for node in self.expected.nodes
            if node.index not in self._pairs and node.index not in self._explained
        ]
        for node in self.expected.nodes:
            if node.index not in self._pairs:
                self.doubted.update(node.inputs)
        return _grouped(gone, "missing")

    def _extra(self) -> list[Placed]:
        paired = {node.index for node in self._pairs.values()} | self._explained_extra
        more = [node for node in self.found.nodes if node.index not in paired]
        return [(len(self.expected.nodes), text) for _, text in _grouped(more, "too many")]

    # ---- sums --------------------------------------------------------------------------------

    def _sums(self) -> list[Placed]:
        """Which paths are no longer summed, or summed besides: not which `Add` reads what."""
        result: list[Placed] = []
        for root in self.expected.nodes:
            readers = self.expected.readers(root.output)
            if root.op_type == "Add" and not any(r.op_type == "Add" for r in readers):
                result += self._sum(root)
        return result

    def _sum(self, root: OnnxNode) -> list[Placed]:
        wanted, adds = _addends(self.expected, root.output)
        twin = self._pairs.get(root.index)
        if twin is not None:
            raw, held_adds = _addends(self.found, twin.output)
            held = [self.values.get(name, name) for name in raw]
        else:
            # The sum itself is gone: whoever read it reads what is left of it.
            read = {self.values.get(v, v) for node in self.found.nodes for v in node.inputs}
            held, held_adds = [name for name in wanted if name in read], []
            self._stand_ins |= {(n, root.output) for n in (*held, *(add.output for add in adds))}
        lost, more = Counter(wanted) - Counter(held), Counter(held) - Counter(wanted)
        if not lost and not more:
            return []
        self._explained |= {add.index for add in adds}
        self._explained_extra |= {add.index for add in held_adds}
        place = place_of(root.name)
        placed = []
        for name in lost.elements():
            path = self._path(name)
            order = self._begin(path) if path != name else root.index
            placed.append((order, f"{path}: is no longer summed into {place}"))
        for name in more.elements():
            placed.append((root.index, f"{place}: also sums {self._path(name)}"))
        return placed

    def _begin(self, place: str) -> int:
        """The index of the first node of a place."""
        return next((n.index for n in self.expected.nodes if place_of(n.name) == place), -1)

    def _path(self, value: str) -> str:
        maker = self.expected.maker(value) or self.found.maker(value)
        if maker is None:
            return value
        place = place_of(maker.name)
        return place if "/path" in place else value


def _addends(view: OnnxView, value: str) -> tuple[list[str], list[OnnxNode]]:
    """The values that a chain of `Add` sums, from left to right, and the chain."""
    addends: list[str] = []
    adds: dict[int, OnnxNode] = {}
    waiting = [value]
    while waiting:
        at = waiting.pop()
        add = view.maker(at, "Add")
        # A sum that is read twice is not written out twice: doublings would never end.
        if add is None or add.index in adds:
            addends.append(at)
        else:
            adds[add.index] = add
            waiting += reversed(add.inputs)
    return addends, list(adds.values())


def _content(node: OnnxNode, inputs: Iterable[str]) -> str:
    return repr((node.op_type, tuple(inputs), sorted(node.attributes.items())))


def _grouped(nodes: list[OnnxNode], what: str) -> list[Placed]:
    """One sentence for all nodes of a place."""
    by_place: dict[str, list[OnnxNode]] = {}
    for node in nodes:
        by_place.setdefault(place_of(node.label), []).append(node)
    return [
        (
            group[0].index,
            f"{place}: node {group[0].label} is {what}"
            if len(group) == 1
            else f"{place}: {len(group)} nodes are {what} (first: {group[0].label})",
        )
        for place, group in by_place.items()
    ]
