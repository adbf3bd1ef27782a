"""The genotype: which operations each node of a cell sums, and over which inputs.

Nodes are numbered from 2, as in DARTS: 0 is the output of the cell before the last, 1 that of
the last cell, 2 the first node of this cell.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from datac.documents.document import Document
from datac.documents.network import Network

FIRST_NODE = 2
"""The number of a cell's first node; 0 and 1 are the cell's two inputs."""

CellKind = Literal["normal", "reduction"]
CELL_KINDS: tuple[CellKind, ...] = get_args(CellKind)
Aggregation = Literal["sum", "mean"]

# Strict: `true` and "2" are slips of the hand, not numbers.
Number = Annotated[int, Field(strict=True)]

# Names travel into ONNX node names, comments of model.py and HTML; which names are known is the
# compiler's question.
OperationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\- ]{1,64}$")]


RECURRENT = (
    'the kind "recurrent" is reserved for a later version; this one reads convolutional genotypes'
)


class Path(Document):
    """One operation on one input of a node."""

    operation: OperationName
    input: Number = Field(ge=0)


class Node(Document):
    """The paths whose results a node adds up; the same path may stand twice."""

    paths: tuple[Path, ...] = ()


class Cell(Document):
    """Nodes in order, and the numbers of those whose channels are concatenated."""

    nodes: tuple[Node, ...]
    output: tuple[Number, ...]

    def used(self) -> frozenset[int]:
        """The numbers of the nodes that reach the output."""
        reached: set[int] = set()
        waiting = list(self.output)
        while waiting:
            number = waiting.pop()
            if number >= FIRST_NODE and number not in reached:
                reached.add(number)
                waiting += [path.input for path in self.nodes[number - FIRST_NODE].paths]
        return frozenset(reached)

    def numbered(self) -> list[tuple[int, Node]]:
        """(number, node) in order."""
        return list(enumerate(self.nodes, start=FIRST_NODE))


class Provenance(Document):
    """Where a genotype came from."""

    method: str
    draws: int | None = None
    seed: int | None = None
    dataset: str | None = None
    dataset_digest: str | None = None
    source: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class Genotype(Document):
    """A searched architecture (`datac.genotype/1`)."""

    schema_: Literal["datac.genotype/1"] = Field(default="datac.genotype/1", alias="schema")
    kind: Literal["convolutional"] = "convolutional"
    aggregation: Aggregation = "sum"
    cells: dict[CellKind, Cell]
    network: Network | None = None
    provenance: Provenance | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical cells and aggregation, without network and provenance.

        The order of paths and of the output counts; key order and formatting do not.
        """
        content = self.model_dump(mode="json", include={"cells", "aggregation"})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @model_validator(mode="before")
    @classmethod
    def _recurrent_is_reserved(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("kind") == "recurrent":
            raise ValueError(RECURRENT)
        return content

    @model_validator(mode="after")
    def _cells_hold_together(self) -> Self:
        for kind in ("normal", "reduction"):
            if kind not in self.cells:
                raise ValueError(f"the {kind} cell is missing")
            _check_cell(kind, self.cells[kind])
        return self


def genotype_warnings(genotype: Genotype) -> list[str]:
    """One sentence for each node that has paths and reaches no output: valid, but rarely meant."""
    return [
        f"{kind} cell: node {number} has paths, but it is not in the output and no used node "
        "takes it as input"
        for kind, cell in genotype.cells.items()
        for number in _dead(cell)
    ]


def _dead(cell: Cell) -> list[int]:
    used = cell.used()
    return [number for number, node in cell.numbered() if node.paths and number not in used]


def _check_cell(kind: str, cell: Cell) -> None:
    _check_output(kind, cell)
    for number, node in cell.numbered():
        for index, path in enumerate(node.paths):
            if path.input >= number:
                raise ValueError(
                    f"{kind} cell, node {number}, path {index}: input {path.input} is not one of "
                    f"0 to {number - 1}"
                )
    for number in sorted(cell.used()):
        if not cell.nodes[number - FIRST_NODE].paths:
            raise ValueError(f"{kind} cell: node {number} has no paths, but {_user(cell, number)}")


def _check_output(kind: str, cell: Cell) -> None:
    last = FIRST_NODE + len(cell.nodes) - 1
    if not cell.nodes:
        raise ValueError(f"{kind} cell: there are no nodes")
    if not cell.output:
        raise ValueError(f"{kind} cell: the output names no node")
    if len(set(cell.output)) != len(cell.output):
        raise ValueError(f"{kind} cell: the output names a node twice")
    for number in cell.output:
        if not FIRST_NODE <= number <= last:
            raise ValueError(
                f"{kind} cell: the output names node {number}, but the nodes are "
                f"{FIRST_NODE} to {last}"
            )


def _user(cell: Cell, number: int) -> str:
    if number in cell.output:
        return "the output names it"
    used = cell.used()
    users = [
        user
        for user, node in cell.numbered()
        if user in used and any(path.input == number for path in node.paths)
    ]
    return f"node {users[0]} uses it"
