"""Other tools' text forms: every one is read, code is not, and what we write reads back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac import published
from datac.documents.genotype import FIRST_NODE, Cell, Genotype, Node, Path
from datac.documents.text_forms import parse_text, to_text
from datac.errors import BadInput

Pairs = list[list[tuple[str, int]]]

# DARTS V2 as github.com/quark0/darts prints it.
FLAT_NORMAL = (
    "[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)]"
)
FLAT_REDUCE = (
    "[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)]"
)
NESTED_NORMAL = (
    "[(('sep_conv_3x3', 0), ('sep_conv_3x3', 1)), [('sep_conv_3x3', 0), ('sep_conv_3x3', 1)], "
    "(['sep_conv_3x3', 1], ('skip_connect', 0)), (('skip_connect', 0), ('dil_conv_3x3', 2))]"
)
TRIPLES_NORMAL = (
    "[('skip_connect', 5, 0), ('sep_conv_3x3', 2, 0), ('sep_conv_3x3', 2, 1), "
    "('sep_conv_3x3', 3, 0), ('sep_conv_3x3', 3, 1), ('dil_conv_3x3', 5, 2), "
    "('sep_conv_3x3', 4, 1), ('skip_connect', 4, 0)]"
)
WEIGHTED_NORMAL = (
    "[('sep_conv_3x3', 0, 0.25), ('sep_conv_3x3', 1, 1e-3), ('sep_conv_3x3', 0, .5), "
    "('sep_conv_3x3', 1, 1.0), ('sep_conv_3x3', 1), ('skip_connect', 0, -0.1), "
    "('skip_connect', 0, 0.3), ('dil_conv_3x3', 2, 0.2)]"
)
FOUR = "range(2, 6)"


def keywords(normal: str = FLAT_NORMAL, concat: str = FOUR, reduce: str = FLAT_REDUCE) -> str:
    return f"normal={normal}, normal_concat={concat}, reduce={reduce}, reduce_concat=[2, 3, 4, 5]"


DARTS_V2_TEXTS = {
    "flat": f"Genotype({keywords()})",
    "nested": f"Genotype({keywords(NESTED_NORMAL)})",
    "triples in any order": f"Genotype({keywords(TRIPLES_NORMAL)})",
    "probabilities": f"Genotype({keywords(WEIGHTED_NORMAL)})",
    "assignment": f"DARTS_V2 = Genotype({keywords()})",
    "annotated assignment": f"DARTS_V2: Genotype = Genotype({keywords()})",
    "comment and line breaks": f"# second order\n\n  DARTS_V2 = Genotype(\n  {keywords()},\n)\n",
    "no name": keywords(),
    "no name, comment at the end": keywords() + "  # the end",
    "no name, parentheses": f"({keywords()})",
    "no name, assignment": f"genotype = ({keywords()})",
    "one assignment a field": f"normal = {FLAT_NORMAL}\nnormal_concat = {FOUR}\n"
    f"reduction = {FLAT_REDUCE}\nreduction_concat = {FOUR}\n",
    "positions": f"Genotype({FLAT_NORMAL}, {FOUR}, {FLAT_REDUCE}, {FOUR})",
    "tuple": f"({FLAT_NORMAL}, {FOUR}, {FLAT_REDUCE}, {FOUR})",
    "dict": f"{{'normal': {FLAT_NORMAL}, 'normal_concat': {FOUR}, "
    f"'reduce': {FLAT_REDUCE}, 'reduce_concat': {FOUR}}}",
    "dict()": f"dict({keywords()})",
    "concat list": f"Genotype({keywords(concat='[2, 3, 4, 5]')})",
    "concat tuple": f"Genotype({keywords(concat='(2, 3, 4, 5)')})",
    "concat list(range)": f"Genotype({keywords(concat='list(range(2, 6))')})",
    "reduction": f"Genotype({keywords().replace('reduce', 'reduction')})",
    "extra None": f"Genotype({keywords()}, connectN=None, connects=None)",
}


@pytest.mark.parametrize("form", DARTS_V2_TEXTS)
def test_every_form_of_darts_v2_is_darts_v2(form: str) -> None:
    genotype = parse_text(DARTS_V2_TEXTS[form])
    assert genotype.cells == published.load("darts-v2").cells
    assert genotype.aggregation == "sum"
    assert genotype.provenance is None


def test_number_of_paths_a_node_is_free_and_a_path_may_stand_twice() -> None:
    genotype = parse_text(
        "Genotype(normal=[[('avg_pool_3x3', 0), ('avg_pool_3x3', 0)], [('skip_connect', 2)], []],"
        "normal_concat=[3], reduce=[(('skip_connect', 0),)], reduce_concat=(2,))"
    )
    assert [len(node.paths) for node in genotype.cells["normal"].nodes] == [2, 1, 0]
    assert genotype.cells["normal"].output == (3,)
    assert len(genotype.cells["reduction"].nodes) == 1


# FairDARTS_a of github.com/xiaomi-automl/FairDARTS, with the concat that leaves node 3 out.
def test_node_that_no_triple_names_is_empty() -> None:
    genotype = parse_text(
        "Genotype(normal=[('sep_conv_3x3', 2, 0), ('sep_conv_5x5', 2, 1), ('max_pool_3x3', 4, 0),"
        f"('sep_conv_3x3', 5, 0)], normal_concat=[2, 4, 5], reduce={FLAT_REDUCE},"
        "reduce_concat=range(2, 6))"
    )
    assert [len(node.paths) for node in genotype.cells["normal"].nodes] == [2, 0, 1, 1]


def test_none_adds_zero_and_is_dropped_with_a_note() -> None:
    none = TRIPLES_NORMAL.replace("]", ", ('none', 3, 1), ('none', 6, 0)]")
    genotype = parse_text(f"Genotype({keywords(none)})")
    expected = published.load("darts-v2").cells["normal"]
    assert genotype.cells["normal"].nodes == (*expected.nodes, Node())
    assert genotype.provenance is not None
    assert "without its 2 `none`" in str(genotype.provenance.source)


OPERATIONS = ("sep_conv_3x3", "skip_connect", "avg_pool_3x3", "noise", "other-name.2")


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    nodes: list[Node] = []
    sources = [0, 1]
    count = draw(st.integers(1, 6))
    path = st.builds(Path, operation=st.sampled_from(OPERATIONS), input=st.sampled_from(sources))
    for number in range(FIRST_NODE, FIRST_NODE + count):
        fewest = 1 if number == FIRST_NODE + count - 1 and len(sources) == 2 else 0
        node = Node(paths=tuple(draw(st.lists(path, min_size=fewest, max_size=5))))
        nodes.append(node)
        if node.paths:
            sources.append(number)  # later nodes may take this one; `path` sees the longer list
    filled = st.sampled_from(sources[2:])
    output = draw(st.lists(filled, min_size=1, unique=True))
    return Cell(nodes=tuple(nodes), output=tuple(output))


genotypes = st.builds(
    lambda normal, reduction: Genotype(cells={"normal": normal, "reduction": reduction}),
    cells(),
    cells(),
)


@settings(deadline=None, max_examples=50)
@given(genotypes)
def test_what_is_written_reads_back(genotype: Genotype) -> None:
    assert parse_text(to_text(genotype)).cells == genotype.cells


@pytest.mark.parametrize("name", published.NAMES)
def test_published_cells_read_back(name: str) -> None:
    genotype = published.load(name)
    assert parse_text(to_text(genotype)).hash == genotype.hash


def test_to_text_is_readable() -> None:
    assert to_text(published.load("darts-v2")).splitlines()[:3] == [
        "Genotype(",
        "    normal=[",
        "        [('sep_conv_3x3', 0), ('sep_conv_3x3', 1)],",
    ]


def triples_of(cell: Cell) -> list[tuple[str, int, int]]:
    return [
        (path.operation, number, path.input)
        for number, node in cell.numbered()
        for path in node.paths
    ]


@settings(deadline=None, max_examples=50)
@given(genotypes)
def test_triples_give_the_same_paths(genotype: Genotype) -> None:
    normal, reduction = genotype.cells["normal"], genotype.cells["reduction"]
    text = (
        f"Genotype(normal={triples_of(normal)}, normal_concat={normal.output},"
        f"reduce={triples_of(reduction)}, reduce_concat={reduction.output})"
    )
    read = parse_text(text)
    for kind, cell in genotype.cells.items():
        assert triples_of(read.cells[kind]) == triples_of(cell)
        assert read.cells[kind].output == cell.output


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_does_anything_but_a_sentence(text: str) -> None:
    with pytest.raises(BadInput):
        parse_text(text)
