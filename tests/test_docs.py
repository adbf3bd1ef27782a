"""README, docs/cli.md and the examples: their commands run, their links lead somewhere.

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

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/README.md"))
PAGES = [ROOT / "README.md", ROOT / "docs/cli.md", *(folder / "README.md" for folder in EXAMPLES)]
SKIPPED = {"demo", "node_modules"}
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


# ---- links and names -------------------------------------------------------------------------


def markdown() -> list[Path]:
    """The project's pages: not what tools leave in folders that begin with a dot."""
    return [path for path in sorted(ROOT.rglob("*.md")) if ours(path.relative_to(ROOT))]


def ours(path: Path) -> bool:
    return not any(part in SKIPPED or part.startswith(".") for part in path.parts)


def prose(text: str) -> str:
    """Without fenced blocks and inline code, where brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S))


def anchors(text: str) -> set[str]:
    """The names that headings have as targets of links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", markdown(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = path if not name else path.parent / name
        if not found.exists() or (anchor and anchor not in anchors(found.read_text())):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("path", markdown(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_files_that_a_page_names_exist(path: Path) -> None:
    """`searcher/inherit.py`, or `exporters/check.py:judge`: file and what is defined in it."""
    blocks = r"^ *```(python|text|toml|yaml)\n.*?^ *```$"
    text = re.sub(blocks, "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    packages = "datac|compiler|searcher|exporters"
    named = re.findall(rf"(?<![\w/])((?:{packages})/[\w/]+\.py)(?::([A-Za-z_]\w*))?", text)
    wrong = []
    for name, what in named:
        file = ROOT / name
        defined = rf"^(\s*def |class ){what}\b|^{what}\b"
        if "NAME" in name:
            continue
        if not file.is_file():
            wrong.append(name)
        elif what and not re.search(defined, file.read_text(), re.MULTILINE):
            wrong.append(f"{name}:{what}")
    assert wrong == []


@pytest.mark.parametrize("path", markdown(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_page_names_a_machine_of_ours(path: Path) -> None:
    """Paths of one machine, and package indices other than the public ones."""
    text = path.read_text()
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|mnt|Users)/\S+", text) == []
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    public = {
        "arxiv.org",
        "download.pytorch.org",
        "github.com",
        "keepachangelog.com",
        "proceedings.neurips.cc",
        "pypi.nvidia.com",
        "semver.org",
    }
    assert hosts <= public, "name the source, or add a public host here"
