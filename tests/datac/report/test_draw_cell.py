import re
from collections import Counter
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.documents.genotype import FIRST_NODE, Cell, Node, Path
from datac.report.draw_cell import draw_cell

SVG = "{http://www.w3.org/2000/svg}"


def drawn_paths(root):
    """(node, index, operation, input) of every path in a drawing, from what it says of itself."""
    found = []
    for group in root.iter(f"{SVG}g"):
        if "data-path" in group.attrib:
            node, index = re.fullmatch(r"node(\d+)/path(\d+)", group.attrib["data-path"]).groups()
            says = group.find(f"{SVG}title").text
            operation, source = re.fullmatch(r"[^:]+: (.*) of (.*)", says).groups()
            number = {"c_{k-2}": 0, "c_{k-1}": 1}.get(source)
            number = int(source.split()[1]) if number is None else number
            assert group.find(f"{SVG}text").text == operation
            found.append((int(node), int(index), operation, number))
    return found


def expected_paths(cell):
    return [
        (number, index, path.operation, path.input)
        for number, node in cell.numbered()
        for index, path in enumerate(node.paths)
    ]


def test_every_path_stands_exactly_once(cell):
    root = ElementTree.fromstring(draw_cell(cell, "a cell"))
    assert Counter(drawn_paths(root)) == Counter(expected_paths(cell))


def test_the_arrow_of_a_path_leaves_its_inputs_rail(cell):
    """Each path's dot stands at the x of its source's own mark."""
    root = ElementTree.fromstring(draw_cell(cell, "a cell"))
    marks = {0: None, 1: None}
    for group in root.iter(f"{SVG}g"):
        if group.find(f"{SVG}circle[@class='node']") is not None:
            circle = group.find(f"{SVG}circle[@class='node']")
            marks[int(group.find(f"{SVG}text[@class='number']").text)] = circle.attrib["cx"]
        faint = group.find(f"{SVG}text[@class='faint middle']")
        if faint is not None:
            marks[int(faint.text)] = faint.attrib["x"]
    paths = {f"node{node}/path{index}": source for node, index, _, source in expected_paths(cell)}
    for group in root.iter(f"{SVG}g"):
        if "data-path" in group.attrib:
            dot = group.find(f"{SVG}circle[@class='dot']")
            assert dot.attrib["cx"] == marks[paths[group.attrib["data-path"]]]


def boxes(root):
    """(left, top, right, bottom) of every operation's box."""
    rects = [rect.attrib for rect in root.iter(f"{SVG}rect") if "box" in rect.attrib["class"]]
    sides = [[float(rect[key]) for key in ("x", "y", "width", "height")] for rect in rects]
    return [(x, y, x + width, y + height) for x, y, width, height in sides]


def test_no_two_boxes_overlap_and_all_stand_inside(cell):
    root = ElementTree.fromstring(draw_cell(cell, "a cell"))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for left, top, right, bottom in boxes(root):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    for a, b in combinations(boxes(root), 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_what_does_not_reach_the_output_is_grey():
    cell = Cell(
        nodes=(
            Node(paths=(Path(operation="sep_conv_3x3", input=1),)),
            Node(paths=(Path(operation="skip_connect", input=2),)),
            Node(),
        ),
        output=(2,),
    )
    root = ElementTree.fromstring(draw_cell(cell, "a cell"))
    dead = {
        text.text
        for group in root.iter(f"{SVG}g")
        if group.attrib.get("class") == "dead"
        for text in group.iter(f"{SVG}text")
    }
    assert {"0", "3", "4", "skip_connect", "no paths"} <= dead
    assert not {"1", "2", "sep_conv_3x3"} & dead
    assert "does not reach the output" in draw_cell(cell, "a cell")


@pytest.mark.parametrize("nodes", range(1, 8))
def test_the_width_holds_any_number_of_nodes(nodes):
    paths = (Path(operation="sep_conv_3x3", input=0),)
    numbers = tuple(range(FIRST_NODE, FIRST_NODE + nodes))
    root = ElementTree.fromstring(
        draw_cell(Cell(nodes=(Node(paths=paths),) * nodes, output=numbers), "")
    )
    assert float(root.attrib["width"]) < 560


def harmless(cell):
    """The same cell with a harmless operation."""
    paths = (Path(operation="sep_conv_3x3", input=0),)
    return Cell(nodes=(Node(paths=paths),) * len(cell.nodes), output=cell.output)


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text())
def test_hostile_names_stay_text(operation, title):
    """The document refuses such a name; the drawing does not rely on it."""
    path = Path.model_construct(operation=operation, input=0)
    cell = Cell.model_construct(nodes=(Node.model_construct(paths=(path,)),), output=(2,))
    root = ElementTree.fromstring(draw_cell(cell, title))
    plain = ElementTree.fromstring(draw_cell(harmless(cell), "a cell"))
    assert {element.tag for element in root.iter()} == {element.tag for element in plain.iter()}
