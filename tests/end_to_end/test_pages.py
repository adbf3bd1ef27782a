"""README, docs/cli.md and the examples: their commands run and print what the page says.

A page's blocks of ```console run from top to bottom in one folder: lines that begin with `$ ` are
commands, every other line must appear in what the command printed (`...` stands for anything, and
white space does not count). Comments before a block say what is special about it:

    <!-- not run: WHY -->       the block is only read
    <!-- first: COMMAND -->     a command that the reader did not need to see
    <!-- exit codes: 0 3 -->    what the block's commands may answer; without it, 0
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/README.md"))
PAGES = [ROOT / "README.md", ROOT / "docs/cli.md", *(folder / "README.md" for folder in EXAMPLES)]
RUN = "console"
SHELLS = {"bash", "sh", "shell"}
LONGEST_SECONDS = 180


@dataclass(frozen=True)
class Command:
    """A command line, the lines that its page shows below it, and the exit codes it may have."""

    line: str
    shown: tuple[str, ...] = ()
    codes: frozenset[int] = frozenset({0})


@dataclass
class Page:
    """The commands of a page in order, and the languages of its blocks."""

    commands: list[Command] = field(default_factory=list)
    languages: set[str] = field(default_factory=set)
    unexplained: list[str] = field(default_factory=list)


def read_page(text: str) -> Page:
    """Blocks and the comments before them."""
    page, marks = Page(), dict[str, str]()
    parts = re.finditer(
        r"^<!-- (?P<mark>[a-z ]+): (?P<value>[^\n]*?) -->$"
        r"|^ *```(?P<language>\w*)\n(?P<body>.*?)^ *```$"
        r"|^(?P<prose>[^\n]+)$",
        text,
        re.MULTILINE | re.DOTALL,
    )
    for part in parts:
        if part["mark"] == "first":
            page.commands.append(Command(part["value"]))
        elif part["mark"]:
            marks[part["mark"]] = part["value"]
        elif part["body"] is not None:
            page.languages.add(part["language"])
            if part["language"] == RUN and "not run" not in marks:
                codes = frozenset(map(int, marks.get("exit codes", "0").split()))
                page.commands += commands_of(part["body"], codes)
            marks = {}
        elif part["prose"] and part["prose"].strip() and marks:
            page.unexplained.append(part["prose"])
            marks = {}
    return page


def commands_of(block: str, codes: frozenset[int]) -> Iterator[Command]:
    r"""The commands of a block. A line that ends in `\` goes on."""
    joined = re.sub(r"\\\n\s*(> )?", "", block)
    for group in re.split(r"^\s*\$ ", joined, flags=re.MULTILINE)[1:]:
        line, *shown = group.rstrip().splitlines()
        yield Command(line, tuple(filter(None, map(str.strip, shown))), codes)


def appears(shown: str, output: str) -> bool:
    """Whether a line of a page is in the output, wherever the terminal broke it."""
    pieces = [re.escape("".join(piece.split())) for piece in shown.split("...")]
    return re.search(".*".join(pieces), "".join(output.split())) is not None


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which `datac` and `python` are those of this checkout.

    One thread: the nets of the pages are so small that more would only wait for each other.
    """
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, arguments in (("python", ""), ("datac", "-P -m datac ")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_do_what_it_says(
    path: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "work"
    if path.parent in EXAMPLES:
        shutil.copytree(path.parent, folder)
    else:
        folder.mkdir()
    page = read_page(path.read_text())
    assert page.commands, "a page without commands teaches nothing here"
    for command in page.commands:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.line],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        said = f"$ {command.line}\n{done.stdout}"
        assert done.returncode in command.codes, f"exit code {done.returncode}\n{said}"
        for line in command.shown:
            assert appears(line, done.stdout), f"not printed: {line}\n{said}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_block_of_a_page_escapes(path: Path) -> None:
    page = read_page(path.read_text())
    assert page.languages.isdisjoint(SHELLS), f"write ```{RUN} with `$ ` before each command"
    assert page.unexplained == [], "a comment stands right before its block"


def test_every_command_has_an_example_that_runs() -> None:
    from datac.cli import COMMANDS

    lines = [c.line for c in read_page((ROOT / "docs/cli.md").read_text()).commands]
    assert [name for name in COMMANDS if not any(f"datac {name}" in line for line in lines)] == []


def test_every_command_is_in_the_table_of_commands() -> None:
    from datac.cli import COMMANDS

    text = (ROOT / "docs/cli.md").read_text().partition("## What holds for all")[0]
    listed = re.findall(r"^\| \[`([a-z]+)`\]\(#datac-\1\) \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
