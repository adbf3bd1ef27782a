"""Every pass, as text before and after, and proven in float64.

A case is a file `PASS/NAME.txt`:

    # what is shown, and why the pass fires or does not
    the graph before
    ---
    the graph after, or the word `unchanged`

A line `# zero: conv.weight, conv.bias[1:3]` sets weights to zero before the pass.

`pytest tests/rewrites --update` rewrites the second half; read the difference before you keep it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler.graph import Graph
from compiler.passes import CANONICAL, REWRITES
from compiler.proof import prove, randomise
from compiler.rewrite import Applied, apply
from compiler.text import parse_graph, print_graph

FOLDER = Path(__file__).parent
CASES = sorted(FOLDER.glob("*/*.txt"))
PASSES = {rewrite.name: rewrite for rewrite in CANONICAL} | REWRITES
ZERO = re.compile(r"([\w./]+)(?:\[(\d+):(\d+)\])?")
SEPARATOR, UNCHANGED = "---\n", "unchanged\n"


@dataclass(frozen=True)
class Case:
    comment: str
    before: str
    after: str


def read(path: Path) -> Case:
    head, separator, after = path.read_text().partition(SEPARATOR)
    assert separator or not after, f"{path} has no line `---`"
    lines = head.splitlines(keepends=True)
    comment = [line for line in lines if line.startswith("#")]
    assert comment, f"{path} does not say what it shows"
    return Case("".join(comment), "".join(lines[len(comment) :]), after)


def rewritten(path: Path, case: Case) -> tuple[Graph, Graph, list[Applied]]:
    """Before, with random weights, and after the pass that the folder is named after."""
    before = parse_graph(case.before)
    randomise(before)
    for line in case.comment.splitlines():
        if line.startswith("# zero: "):
            for name, begin, end in ZERO.findall(line.removeprefix("# zero: ")):
                before.weights[name][slice(int(begin or 0), int(end) if end else None)] = 0
    after, log = apply(before, (PASSES[path.parent.name],))
    return before, after, log


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_pass_does_what_the_case_says(path: Path, update: bool) -> None:
    case = read(path)
    before, after, log = rewritten(path, case)
    assert print_graph(before) == case.before, "the graph is not written as datac writes it"
    found = print_graph(after) if log else UNCHANGED
    if update:
        path.write_text(f"{case.comment}{case.before}{SEPARATOR}{found}")
    else:
        assert found == case.after
    assert log or print_graph(after) == case.before
    proof = prove(before, after)
    assert proof.holds, proof


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_is_shown_firing_and_refusing(name: str) -> None:
    answers = [read(path).after == UNCHANGED for path in CASES if path.parent.name == name]
    assert {*answers} == {True, False}


def test_every_folder_is_a_pass() -> None:
    assert {path.parent.name for path in CASES} <= PASSES.keys()
