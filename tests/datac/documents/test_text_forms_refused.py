"""What a text form may not hold: code, too much of anything, cells that fall apart."""

from pathlib import Path

import pytest

from datac.documents.text_forms import parse_text
from datac.errors import BadInput

RIGHT = "reduce=[[('skip_connect', 0)]], reduce_concat=[2]"
PAIR = "[('a', 0), ('b', 1)]"


def text_of(normal: str = PAIR, concat: str = "[2]") -> str:
    return f"Genotype(normal={normal}, normal_concat={concat}, {RIGHT})"


CODE = [
    "Genotype(normal=__import__('os').system('touch harmed'))",
    "__import__('os').system('touch harmed')",
    "import os",
    "import os\nGenotype(normal=[])",
    "def f():\n    pass",
    text_of() + "\nprint('hello')",
    text_of(concat="open"),
    text_of(concat="open('harmed', 'w')"),
    text_of(concat="[x for x in (2, 3)]"),
    text_of(concat="[(x := 2)]"),
    text_of(concat="range(2, n)"),
    text_of(concat="range(10**9)"),
    text_of(concat="range(1, 2, 0)"),
    text_of(concat="range()"),
    text_of(concat="range(2, stop=6)"),
    text_of(concat="[*range(2, 6)]"),
    text_of(concat="[1 + 1]"),
    text_of(concat="(lambda: 2)()"),
    text_of("[(b'a', 0), ('b', 1)]"),
    text_of("[(f'{exit()}', 0), ('b', 1)]"),
    text_of("[('a', ...), ('b', 1)]"),
    text_of("[('a', 1j), ('b', 1)]"),
    "Genotype(**{'normal': []})",
    "Genotype(*[[], [], [], []])",
    "genotypes.Genotype()",
    "{**{}}",
    "x += 1",
    "a = b = Genotype()",
]


@pytest.mark.parametrize("text", CODE)
def test_code_is_refused_and_not_run(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"file\.txt: line \d+: the text contains code"):
        parse_text(text, "file.txt")
    assert not list(tmp_path.iterdir())


TOO_MUCH = {
    "range": (text_of(concat="range(1000000000)"), "a range of more than 1024 numbers"),
    "huge range": (text_of(concat=f"range({10**30})"), "a range of more than 1024 numbers"),
    "list": (text_of(concat="[" * 20 + "]" * 20), "nested too deeply"),
    "brackets": ("[" * 100_000, "too many nested parentheses"),
    "signs": ("-" * 100_000 + "1", "nested too deeply"),
    "sums": ("1+" * 100_000 + "1", "nested too deeply"),
    "attributes": ("a" + ".a" * 100_000, "nested too deeply"),
    "words": ("not " * 60_000 + "1", "nested too deeply"),
    "characters": ("x" * 300_000, "longer than 262144 characters"),
    "digits": (text_of(concat="[" + "1" * 5000 + "]"), "neither JSON nor a text form"),
    "null": ("Genotype(\0)", "neither JSON nor a text form"),
    "node": (text_of("[('a', 1000000000, 0)]"), "a triple names node 1000000000"),
}

FIELDS = [
    ("hello world", "neither JSON nor a text form (line 1: invalid syntax)"),
    ("# nothing but a comment", "no value in it"),
    ("'hello'", "a single value where Genotype(...) is needed"),
    (f"A = {text_of()}\nB = {text_of()}", "2 values for one Genotype (A, B); keep one of them"),
    ("Genotype()", '"normal" is missing'),
    (f"Genotype(normal={PAIR}, {RIGHT})", '"normal_concat" is missing'),
    (text_of(concat="None"), '"normal_concat" is missing'),
    (text_of().replace("l_concat", "l_conat"), '"normal_conat". Did you mean "normal_concat"?'),
    (text_of()[:-1] + ", steps=4)", 'unknown field "steps"'),
    (text_of()[:-1] + ", reduction=[])", '"reduce" stands twice'),
    (text_of()[:-1] + ", normal=[])", '"normal" stands twice'),
    (f"Genotype({PAIR}, [2], {PAIR}, [2], 1)", "5 values for the 4 of normal, normal_concat"),
    ("Genotype(recurrent=[('relu', 0)], concat=range(1, 9))", 'kind "recurrent" is reserved'),
    ("recurrent = [('relu', 0)]\nconcat = range(1, 9)", 'kind "recurrent" is reserved'),
]

CELLS = [
    (text_of("3"), "normal cell: a list of paths is needed, not 3"),
    (text_of("[3]"), "normal cell, node 2: a list of paths is needed, not 3"),
    (
        text_of("[('a', 0), ('a', 1), ('a', 0)]"),
        "normal cell: 3 paths in the flat form, which gives every node two",
    ),
    (text_of("[[('a', 0)], ('a', 0)]"), "some entries are paths and some are lists of paths"),
    (text_of("[('a', 0), ('a', 2, 1)]"), "pairs and triples are mixed; entry 1"),
    (text_of("[[('a', 2, 1)]]"), "normal cell, node 2: a triple names its own node"),
    (text_of("[('a', 1, 0)]"), "names node 1, but the first node is 2"),
    (text_of("[('a', True), ('a', 0)]"), "normal cell, path 0: (operation, input) or (operation, "),
    (text_of("[[('a', 0, 0, 0)]]"), 'is needed, not ("a", 0, 0, 0)'),
    (text_of("[[(0, 'a')]]"), "normal cell, node 2, path 0: (operation, input) or"),
    (text_of("[]"), "normal cell: there are no nodes"),
    (text_of(concat="[2, 6]"), "normal cell: the output names node 6, but the nodes are 2 to 2"),
    (text_of(concat="[]"), "normal cell: the output names no node"),
    (text_of(concat="[2, 2]"), "normal cell: the output names a node twice"),
    (text_of(concat="2"), 'normal cell: "output" must be a list, not 2'),
    (text_of(concat="['2']"), 'normal cell, output: entry 0 must be a whole number, not "2"'),
    (text_of("[[('a', 2)]]"), "normal cell, node 2, path 0: input 2 is not one of 0 to 1"),
    (text_of("[[('a', -1)]]"), '"input" must be at least 0, not -1'),
    (text_of("[[], [('a', 2)]]", "[3]"), "normal cell: node 2 has no paths, but node 3 uses it"),
    (text_of("[('a', 3, 0)]", "[2, 3]"), "node 2 has no paths, but the output names it"),
    (text_of("[[('a\\n', 0)]]"), '"a\\n" is not the name of an operation'),
    (text_of("[[('none', 0)]]"), "but the output names it (`none` adds zero and was dropped)"),
]


@pytest.mark.parametrize(("text", "expected"), [*TOO_MUCH.values(), *FIELDS, *CELLS])
def test_one_sentence_says_what_is_wrong(text: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_text(text, "file.txt")
    sentence = str(caught.value)
    assert sentence.startswith("file.txt: ")
    assert expected in sentence
    assert sentence.isprintable()
    assert len(sentence) < 300
