"""The drawing of a cell: every source a rail, every path a box, every node where its rail begins.

Rails run downwards. A path leaves the rail of its input at a dot, passes its operation's box to
the right, and joins the other paths of its node on one line that turns back to the node. So
several operations between the same two nodes are several rows, and no two labels can meet.
"""

from dataclasses import dataclass
from typing import Self

from markupsafe import Markup

from datac.documents.genotype import FIRST_NODE, Cell, Genotype, Path
from datac.documents.sentences import counted
from datac.report.svg import drawing, element

ROW = 30
"""Distance of two rows in px; everything below is in px too."""
BOX_HEIGHT = 22
RADIUS = 11
RAIL = 30
MARGIN = 14
INPUT_Y = 66
LONGEST_NAME = 24
CHARACTER = 7.3
CORNER = 6
RIGHT, LEFT, DOWN = (1, 0), (-1, 0), (0, 1)

STYLE = """
.cell { --rail: #52606d; --text: #1f2933; --faint: #7b8794; --paper: #ffffff; --dead: #c3cad2;
  --conv: #dbe9f9; --conv-line: #3b77b8; --dil: #e6e1f8; --dil-line: #6f5bb5;
  --pool: #fbeacb; --pool-line: #a8741a; --skip: #dcf0e3; --skip-line: #3d8a5f;
  --other: #e9edf1; --other-line: #66727f;
  font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media (prefers-color-scheme: dark) {
  .cell { --rail: #9fb0c0; --text: #e4e9ee; --faint: #8b98a5; --paper: #171b20; --dead: #47505a;
    --conv: #1d3550; --conv-line: #6ea8e5; --dil: #2f2853; --dil-line: #a394e6;
    --pool: #43320f; --pool-line: #d9a546; --skip: #17392a; --skip-line: #69bf91;
    --other: #2a3138; --other-line: #94a1ae; } }
.cell text { fill: var(--text); }
.cell .title { font: 600 14px system-ui, -apple-system, "Segoe UI", sans-serif; }
.cell .faint { fill: var(--faint); font-size: 11px; }
.cell .wire { fill: none; stroke: var(--rail); stroke-width: 1.5; }
.cell .bridge { fill: none; stroke: var(--paper); stroke-width: 6; }
.cell .dot, .cell .tip { fill: var(--rail); }
.cell .node { fill: var(--rail); }
.cell .number { fill: var(--paper); font-weight: 600; text-anchor: middle; }
.cell .pill { fill: var(--paper); stroke: var(--rail); stroke-width: 1.5; }
.cell .middle { text-anchor: middle; }
.cell .box { stroke-width: 1; fill: var(--other); stroke: var(--other-line); }
.cell .conv { fill: var(--conv); stroke: var(--conv-line); }
.cell .dil { fill: var(--dil); stroke: var(--dil-line); }
.cell .pool { fill: var(--pool); stroke: var(--pool-line); }
.cell .skip { fill: var(--skip); stroke: var(--skip-line); }
.cell .dead .wire { stroke: var(--dead); stroke-dasharray: 3 3; }
.cell .dead .dot, .cell .dead .tip, .cell .dead .node { fill: var(--dead); }
.cell .dead .box { fill: none; stroke: var(--dead); stroke-dasharray: 3 3; }
.cell .dead text { fill: var(--faint); }
.cell .dead .number { fill: var(--paper); }
"""


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    `rails`: x of each source. `rows`: y of each node's paths. `nodes`: y of each source's own
    mark. `box`: x of the operations' boxes. `bar`: y of the concatenation.
    """

    rails: tuple[float, ...]
    rows: dict[int, tuple[float, ...]]
    nodes: dict[int, float]
    box: float
    box_width: float
    bar: float
    bar_left: float
    bar_right: float
    concat: str

    @property
    def turn(self) -> float:
        """X of the line on which the paths of a node join."""
        return self.box + self.box_width + 16

    @property
    def width(self) -> float:
        """Of the whole drawing."""
        return max(self.turn, self.bar_right + CHARACTER * len(self.concat) + 10) + MARGIN

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """Rows from top to bottom: the paths of node 2, node 2, the paths of node 3, ..."""
        rails = [MARGIN + 24.0, MARGIN + 84.0]
        rails += [rails[1] + 44 + RAIL * index for index in range(len(cell.nodes))]
        rows: dict[int, tuple[float, ...]] = {}
        marks = {0: float(INPUT_Y), 1: float(INPUT_Y)}
        y = INPUT_Y + ROW + 4.0
        for number, node in cell.numbered():
            rows[number] = tuple(y + ROW * index for index in range(len(node.paths)))
            y += ROW * len(node.paths)
            marks[number] = y
            y += ROW + 14
        longest = max((len(_label(path)) for node in cell.nodes for path in node.paths), default=0)
        box_width = max(96, CHARACTER * longest + 18)
        ends = [rails[number] for number in cell.output]
        return cls(
            rails=tuple(rails),
            rows=rows,
            nodes=marks,
            box=rails[-1] + 32,
            box_width=box_width,
            bar=y + 4,
            bar_left=min(ends) - 16,
            bar_right=max(ends) + 16,
            concat=f"concat {', '.join(map(str, cell.output))}",
        )


def draw_cell(cell: Cell, title: str) -> str:
    """The cell as one SVG that stands alone or inside a page, light or dark."""
    layout = Layout.of(cell)
    used = cell.used()
    alive = used | {path.input for number in used for path in _paths(cell, number)}
    parts = [element("text", title, x=MARGIN, y=24, class_="title")]
    parts += [_rail(cell, layout, source, used) for source in range(len(layout.rails))]
    parts += [_node(cell, layout, number, number not in used) for number, _ in cell.numbered()]
    parts += [_input(layout, source, dead=source not in alive) for source in (0, 1)]
    parts.append(_output(cell, layout))
    height = layout.bar + 78
    if len(used) < len(cell.nodes):
        note = "grey: does not reach the output"
        parts.append(element("text", note, x=MARGIN, y=height, class_="faint"))
        height += 14
    return drawing(layout.width, height, _words(cell, title), STYLE, *parts, class_="cell")


def draw_cells(genotype: Genotype) -> tuple[str, str]:
    """The normal and the reduction cell, each with its name as the title."""
    cells = genotype.cells
    return (
        draw_cell(cells["normal"], "normal cell"),
        draw_cell(cells["reduction"], "reduction cell"),
    )


def _paths(cell: Cell, number: int) -> tuple[Path, ...]:
    return cell.nodes[number - FIRST_NODE].paths


def _label(path: Path) -> str:
    name = path.operation
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _words(cell: Cell, title: str) -> str:
    paths = sum(len(node.paths) for node in cell.nodes)
    return f"{title}: {counted(len(cell.nodes), 'node')}, {counted(paths, 'path')}"


def _source(number: int) -> str:
    return {0: "c_{k-2}", 1: "c_{k-1}"}.get(number, f"node {number}")


def _family(operation: str) -> str:
    for family in ("dil", "conv", "pool", "skip"):
        if family in operation:
            return family
    return "other"


def _line(*points: tuple[float, float], class_: str = "wire") -> Markup:
    """Straight pieces, level or upright, with round corners."""
    path = "M{:g} {:g}".format(*points[0])
    for (ax, ay), (bx, by), (cx, cy) in zip(points, points[1:], points[2:], strict=False):
        before = (bx - CORNER * _sign(bx - ax), by - CORNER * _sign(by - ay))
        after = (bx + CORNER * _sign(cx - bx), by + CORNER * _sign(cy - by))
        path += " L{:g} {:g} Q{:g} {:g} {:g} {:g}".format(*before, bx, by, *after)
    return element("path", d=path + " L{:g} {:g}".format(*points[-1]), class_=class_)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _tip(x: float, y: float, towards: tuple[int, int]) -> Markup:
    """An arrow's point at (x, y)."""
    dx, dy = towards
    back_x, back_y = x - 7 * dx, y - 7 * dy
    corners = (x, y, back_x + 4 * dy, back_y + 4 * dx, back_x - 4 * dy, back_y - 4 * dx)
    return element("polygon", points=" ".join(f"{corner:g}" for corner in corners), class_="tip")


def _rail(cell: Cell, layout: Layout, source: int, used: frozenset[int]) -> Markup:
    """From a source down to its last use, or to the concatenation.

    Grey below the last use by a node that reaches the output.
    """
    x, top = layout.rails[source], layout.nodes[source]
    uses = [
        (layout.rows[number][index], number in used)
        for number, node in cell.numbered()
        for index, path in enumerate(node.paths)
        if path.input == source
    ]
    live = max((y for y, needed in uses if needed), default=top)
    last = max((y for y, _ in uses), default=top)
    parts = []
    if source in cell.output:
        live = layout.bar
        parts.append(_tip(x, live, DOWN))
    if live > top:
        parts.append(_line((x, top), (x, live)))
    if last > live:
        parts.append(element("g", _line((x, live), (x, last)), class_="dead"))
    return element("g", *parts, class_="rail")


def _input(layout: Layout, source: int, dead: bool) -> Markup:
    x, y = layout.rails[source], layout.nodes[source]
    name = [
        "c",
        element("tspan", f"k−{2 - source}", dy=3, font_size=9),
    ]
    parts = [
        element("text", str(source), x=x, y=y - 17, class_="faint middle"),
        element("rect", x=x - 24, y=y - 12, width=48, height=24, rx=12, class_="pill"),
        element("text", *name, x=x, y=y + 4, class_="middle"),
    ]
    return element("g", *parts, class_="dead" if dead else "input")


def _node(cell: Cell, layout: Layout, number: int, dead: bool) -> Markup:
    """The paths of a node, the line on which they join, and the node itself."""
    x, y = layout.rails[number], layout.nodes[number]
    paths, rows = _paths(cell, number), layout.rows[number]
    parts = [
        _path(layout, f"node{number}/path{index}", path, rows[index])
        for index, path in enumerate(paths)
    ]
    if paths:
        edge = layout.box + layout.box_width
        parts += [_line((edge, row), (layout.turn, row)) for row in rows[1:]]
        join = [(edge, rows[0]), (layout.turn, rows[0]), (layout.turn, y), (x + RADIUS + 1, y)]
        parts += [_line(*join), _tip(x + RADIUS, y, LEFT)]
    else:
        parts.append(element("text", "no paths", x=x + 20, y=y + 4, class_="faint"))
    parts += [
        element("circle", cx=x, cy=y, r=RADIUS, class_="node"),
        element("text", str(number), x=x, y=y + 4, class_="number"),
    ]
    return element("g", *parts, class_="dead" if dead else "live")


def _path(layout: Layout, name: str, path: Path, y: float) -> Markup:
    """One row: the dot on its input's rail, the arrow, the box with the operation's name."""
    start, end = layout.rails[path.input], layout.box
    crossed = [x for x in layout.rails if start < x < end]
    parts = [element("title", f"{name}: {path.operation} of {_source(path.input)}")]
    if crossed:
        bridge = ((crossed[0] - 7, y), (crossed[-1] + 7, y))
        parts.append(_line(*bridge, class_="bridge"))
    parts += [
        element("circle", cx=start, cy=y, r=3, class_="dot"),
        _line((start, y), (end - 2, y)),
        _tip(end, y, RIGHT),
        element(
            "rect",
            x=end,
            y=y - BOX_HEIGHT / 2,
            width=layout.box_width,
            height=BOX_HEIGHT,
            rx=5,
            class_=f"box {_family(path.operation)}",
        ),
        element("text", _label(path), x=end + 9, y=y + 4),
    ]
    return element("g", *parts, class_="path", data_path=name)


def _output(cell: Cell, layout: Layout) -> Markup:
    """The bar that concatenates, and the cell's own output below it."""
    left, right = layout.bar_left, layout.bar_right
    middle, y = (left + right) / 2, layout.bar
    parts = [
        element("rect", x=left, y=y, width=right - left, height=8, rx=3, class_="node"),
        element("text", layout.concat, x=right + 10, y=y + 9),
        _line((middle, y + 8), (middle, y + 34)),
        _tip(middle, y + 36, DOWN),
        element("rect", x=middle - 20, y=y + 36, width=40, height=24, rx=12, class_="pill"),
        element(
            "text",
            "c",
            element("tspan", "k", dy=3, font_size=9),
            x=middle,
            y=y + 52,
            class_="middle",
        ),
    ]
    return element("g", *parts, class_="output", data_concat=" ".join(map(str, cell.output)))
