"""action.yml: its own step, run as GitHub's runner would, on a sound build and on a damaged one."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest
import yaml

from datac.cli import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def action():
    return yaml.safe_load((ROOT / "action.yml").read_text())


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--channels", "4", "--cells", "3", "--classes", "3", "--input", "3x16x16")
    quick = ("--threads", "1", "--bench-seconds", "0")
    assert run(["compile", "data-m4", *small, "--target", "onnx", *quick]) == 0
    return tmp_path / "build"


def check_step(action, folder, **inputs):
    """The step's script, with the environment that it asks for; datac is the one under test."""
    (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "check"]
    temporary = folder / "runner"
    (temporary / "datac/bin").mkdir(parents=True, exist_ok=True)
    command = temporary / "datac/bin/datac"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m datac "$@"\n')
    command.chmod(0o755)
    given = {name: value["default"] for name, value in action["inputs"].items()} | inputs
    asked = {
        name: given[value.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, value in step["env"].items()
    }
    files = {"GITHUB_OUTPUT": folder / "output", "GITHUB_STEP_SUMMARY": folder / "summary.md"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=os.environ
        | asked
        | {key: str(path) for key, path in files.items()}
        | {"RUNNER_TEMP": str(temporary), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, files["GITHUB_STEP_SUMMARY"].read_text()


def test_a_sound_build_passes(action, build, tmp_path):
    done, summary = check_step(action, tmp_path, arguments="--threads 1")
    assert done.returncode == 0, done.stderr
    assert summary.startswith("### ✅ datac: pass")
    assert (tmp_path / "output").read_text() == "junit=datac-check.xml\n"
    suite = ElementTree.parse(tmp_path / "datac-check.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("tests")) == ("0", "3")


def test_a_damaged_build_fails_and_the_summary_says_where(action, build, tmp_path):
    model = onnx.load(build / "model.onnx")
    pool = next(node for node in model.graph.node if node.op_type in ("MaxPool", "AveragePool"))
    next(a for a in pool.attribute if a.name == "pads").ints[:] = [0, 0, 2, 2]
    onnx.save(model, build / "model.onnx")
    done, summary = check_step(action, tmp_path, arguments="--threads 1")
    assert done.returncode == 1
    assert summary.startswith("### ❌ datac: fail")
    place = "/".join(pool.name.split("/")[:3])
    suite = ElementTree.parse(tmp_path / "datac-check.xml").getroot()[0]
    failure = suite.find("testcase[@name='structure']/failure")
    assert place in failure.get("message")
    assert place.replace("_", "\\_") in summary


def test_an_input_is_data_and_never_a_command(action, build, tmp_path):
    hostile = 'x"; touch "$(pwd)/harm"; "'
    done, summary = check_step(action, tmp_path, build=hostile)
    assert done.returncode == 2
    assert "is not a build" in done.stderr
    # What has no verdict has its sentence in the summary, as text that Markdown does not read.
    title, _, said = summary.partition("\n\n")
    assert title == "### ❌ datac: exit code 2"
    assert said.startswith("    datac: ")
    assert "is not a build" in said
    assert not (tmp_path / "harm").exists()
