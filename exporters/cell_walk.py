"""From the head of a canonical ONNX back to its stem: which value is which cell."""

from __future__ import annotations

from compiler.cell import CellPlan
from datac.documents.genotype import Cell, Genotype
from exporters.cell_reader import CellFound, CellMatch, find_cell, matches, used_inputs
from exporters.frame_reader import FrameReader
from exporters.onnx_view import OnnxView
from exporters.path_patterns import trace_preprocess

NO_CELL = 10_000
"""The misfit of a value that is no cell at all: worse than any damaged cell."""


def live_cells(plans: tuple[CellPlan, ...], genotype: Genotype) -> dict[int, CellPlan]:
    """The cells that reach the output, the first one first."""
    live = {plans[-1].index}
    for plan in reversed(plans):
        if plan.index in live:
            live |= {plan.index - 2 + i for i in used_inputs(genotype.cells[plan.kind])}
    return {plan.index: plan for plan in plans if plan.index in live}


class FoundCells:
    """The cells of a model by topology alone, each looked for once."""

    def __init__(self, view: OnnxView) -> None:
        self.view = view
        self._cells: dict[str, CellFound | None] = {}

    def at(self, value: str) -> CellFound | None:
        """The cell whose output is this value."""
        if value not in self._cells:
            self._cells[value] = find_cell(self.view, value)
        return self._cells[value]

    def in_order(self) -> list[str]:
        """The outputs of all cells, in the order of the file."""
        values = [node.output for node in self.view.nodes if node.op_type == "Concat"]
        cells = [(v, self.at(v)) for v in values if trace_preprocess(self.view, v) is None]
        return [value for value, cell in cells if cell is not None and cell.inputs]


class CellWalk:
    """From the features back to the stem: which value is which cell, and which cell reads what.

    `results`: cell → its output value (-1 and -2: the stem's). `reads`: (cell, input) → the value
    that stands behind the input's preprocessing. `anchors`: results that are known before.
    """

    def __init__(
        self,
        found: FoundCells,
        genotype: Genotype,
        frame: FrameReader,
        plans: dict[int, CellPlan],
        anchors: dict[int, str],
    ) -> None:
        self.view, self.genotype, self.frame, self.plans = found.view, genotype, frame, plans
        self.results = dict(anchors)
        self.features: str | None = None
        self.reads: dict[tuple[int, int], str] = {}
        self.cells: dict[int, CellMatch] = {}
        self._find = found.at
        self._misfits: dict[tuple[str, int], int] = {}

    def run(self) -> None:
        """Read all."""
        self.features = self.frame.features()
        if self.features is not None:
            self.results.setdefault(max(self.plans), self.features)
        for index in sorted(self.plans, reverse=True):
            self._settle(index)
            found = self._find(self.results.get(index, ""))
            if found is None:
                continue
            best = min(matches(found, self.cell(index)), key=lambda m: self._rank(m, index))
            self.cells[index] = best
            for number, preprocess in best.inputs.items():
                self.reads[index, number] = preprocess.source
        self._settle(-1)
        self._settle(-2)
        self.frame.read_stem({at: v for at, v in self.results.items() if at < 0})

    def cell(self, index: int) -> Cell:
        """The genotype's cell."""
        return self.genotype.cells[self.plans[index].kind]

    def _settle(self, index: int) -> None:
        """The readers of a cell say which value it is; where they disagree, the better fit.

        One value is never two cells, while the stem may have one result for both inputs.
        """
        readers = [(index + 2 - number, number) for number in (1, 0)]
        values = [self.reads[reader] for reader in readers if reader in self.reads]
        if index >= 0:
            values = [value for value in values if value not in self.results.values()]
        if index not in self.results and values:
            self.results[index] = min(values, key=lambda value: self._misfit(value, index))

    def _misfit(self, value: str, index: int) -> int:
        """How badly a value does for the output of a cell, or of the stem below 0."""
        if index < 0:
            right = self.frame.stem_depth(value) == self.frame.expected_depth(index)
            return 0 if right else NO_CELL
        if index not in self.plans:
            return NO_CELL
        if (value, index) not in self._misfits:
            found = self._find(value)
            ways = matches(found, self.cell(index)) if found is not None else []
            misfits = [way.misfits(self.cell(index)) for way in ways]
            self._misfits[value, index] = min(misfits, default=NO_CELL)
        return self._misfits[value, index]

    def _rank(self, match: CellMatch, index: int) -> tuple[int, int, int]:
        """Of the ways to say which input is which, the smallest is the best.

        First how well the cell fits, and the cells that it would then read; then, where a cell
        is symmetric, that other readers agree, and that the nearer cell comes later in the file.
        """
        misfits, disagreed, order = match.misfits(self.cell(index)), 0, 0
        for number, preprocess in match.inputs.items():
            at = index - 2 + number
            misfits += self._misfit(preprocess.source, at)
            kind = "factorized" if number == 0 and self.plans[index].reduced_before else "pointwise"
            misfits += preprocess.operation != kind
            known = self.reads.get((index + 1, 0)) if number == 1 else None
            disagreed += known is not None and known != preprocess.source
            maker = self.view.maker(preprocess.source)
            order += (maker.index if maker else -1) * (1 if number == 0 else -1)
        return misfits, disagreed, order
