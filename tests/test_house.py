"""The rules of the house that no linter knows (docs/architecture.md)."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from datac.cli import COMMANDS, root
from datac.cli.failures import EXTRA_OF_PACKAGE

ROOT = Path(__file__).parents[1]
PACKAGES = ("compiler", "datac", "exporters", "searcher")
LONGEST_FILE = 400

LONGER_FILES: dict[str, int] = {}
"""The files over 400 lines, each with its length. No file joins them and none of them grows."""

MAY_NEED_TORCH = ("compiler.torch_module", "exporters.initialise", "searcher")
"""The modules, or packages of modules, that cannot be imported where there is no torch."""

OPTIONAL = (*EXTRA_OF_PACKAGE, "onnxscript", "torchvision")

IMPORT_ALL = """
import importlib, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

OPTIONAL, modules = json.load(sys.stdin)
sys.meta_path.insert(0, Absent())
failures = {}
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:
        failures[module] = str(error)
print(json.dumps(failures))
"""

RUN_AND_LIST = """
import json, sys
from datac.cli import run
code = run(json.load(sys.stdin))
print("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def python(script: str, given: object) -> str:
    """What `script` prints in a Python of its own, in the repository's root."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_name(source: Path) -> str:
    return ".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def commands() -> Iterable[tuple[str, click.Command]]:
    context = click.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        yield name, command


def project() -> dict[str, dict[str, list[str]]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]  # type: ignore[no-any-return]


def extras_within(extra: str) -> set[str]:
    """`extra` and the extras of datac that it takes in."""
    found = {extra}
    for text in project()["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == "datac":
            found = found.union(*map(extras_within, requirement.extras))
    return found


def test_files_are_short_enough_to_read() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for path in sources(*PACKAGES, "tests", "benchmarks")
    }
    longer = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert longer == LONGER_FILES, "split what is new; shorten the list where a file got shorter"


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [path for path in sources(*PACKAGES, "tests") if path.stem in drawers] == []


def test_tests_are_no_packages() -> None:
    """A `tests/compiler/__init__.py` would shadow the real package."""
    assert [path for path in sources("tests") if path.name == "__init__.py"] == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in sources(*PACKAGES)}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
    assert [name for name in PACKAGES if not (ROOT / name / "py.typed").exists()] == []


def test_every_module_can_be_imported_with_nothing_optional_installed() -> None:
    modules = [module_name(path) for path in sources(*PACKAGES) if path.stem != "__main__"]
    failures = json.loads(python(IMPORT_ALL, [OPTIONAL, modules]))
    unexpected = {
        module: reason
        for module, reason in failures.items()
        if not any(f"{module}.".startswith(f"{allowed}.") for allowed in MAY_NEED_TORCH)
    }
    assert unexpected == {}


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], {*OPTIONAL, "compiler", "searcher", "exporters", "networkx", "numpy"}),
        (["show", "data-m7"], {*OPTIONAL, "searcher", "exporters"}),
    ],
)
def test_what_shall_answer_at_once_imports_little(arguments: list[str], absent: set[str]) -> None:
    code, imported = json.loads(python(RUN_AND_LIST, arguments).splitlines()[-1])
    assert code == 0
    assert absent.isdisjoint(imported), absent.intersection(imported)


def test_every_command_and_option_has_help() -> None:
    silent = [
        f"{name} {parameter.name}"
        for name, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []
    assert [name for name, command in commands() if not command.help] == []


@pytest.mark.docs
def test_every_command_and_option_is_documented() -> None:
    page = (ROOT / "docs/cli.md").read_text()
    headings = re.findall(r"^#+ .*", page, re.MULTILINE)
    assert [n for n in COMMANDS if not any(f"datac {n}" in line for line in headings)] == []
    options = {
        option
        for _, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    assert sorted(option for option in options if option not in page) == []


@pytest.mark.docs
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_make_targets_that_a_page_names_exist(page: str) -> None:
    named = re.findall(r"^\s*make ([a-z-]+)|`make ([a-z-]+)", (ROOT / page).read_text(), re.M)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {first or second for first, second in named} <= {*targets}


def test_nobody_imports_upwards() -> None:
    """`make lint` says more; here, so that the suite alone holds the layout of the house."""
    pytest.importorskip("importlinter")
    script = "from importlinter.cli import lint_imports_command as main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout


def test_the_extras_bring_what_the_error_sentences_promise() -> None:
    extras = project()["optional-dependencies"]
    for package, extra in EXTRA_OF_PACKAGE.items():
        assert canonicalize_name(package) in {Requirement(text).name for text in extras[extra]}


@pytest.mark.parametrize("extra", ["all", "dev"])
def test_an_environment_without_a_gpu_can_be_made_from_pypi_alone(extra: str) -> None:
    assert extras_within(extra).isdisjoint({"gpu", "trt"})


def test_constraints_pin_every_dependency_of_the_development_environment() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *(r for e in extras_within("dev") for r in extras[e])]
    for requirement in map(Requirement, wanted):
        if requirement.name != "datac":
            version = pinned[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement
