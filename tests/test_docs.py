"""The project's pages: their links lead somewhere, what they name exists."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[1]
SKIPPED = {"demo", "node_modules"}


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
