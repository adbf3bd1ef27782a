"""What the doctor finds, on this machine, on a bare one and on a broken one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import datac
from datac.cli.doctor import doctor as command
from exporters import doctor as examination
from exporters.doctor import (
    Diagnosis,
    damaged_packages,
    doctor,
    driver_problems,
    installation_problems,
    origin_of,
    package_problems,
)
from exporters.targets import TARGETS

ROOT = Path(datac.__file__).resolve().parent.parent

BARE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {
            "torch", "lightning_fabric", "kornia",
            "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx",
        }:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from click.testing import CliRunner
from datac.cli.doctor import doctor
result = CliRunner().invoke(doctor, sys.argv[1:])
if result.exception and not isinstance(result.exception, SystemExit):
    raise result.exception
assert "torch" not in sys.modules
print(result.output)
"""


def bare(*arguments):
    """`datac doctor` where nothing optional can be imported."""
    run = [sys.executable, "-c", BARE, *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        run, check=True, capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT
    ).stdout


def test_every_target_is_there_and_sentences_stand_where_something_is_missing():
    diagnosis = doctor()
    assert [target.target for target in diagnosis.targets] == list(TARGETS)
    for target in diagnosis.targets:
        assert target.can_build == (target.to_build is None)
        assert target.can_run == (target.to_run is None)


def test_datac_comes_from_one_installation():
    assert doctor().installation == str(ROOT)
    assert installation_problems({name: ROOT for name in ("datac", "compiler")}) == ()


def test_a_package_of_our_name_that_hides_ours_is_named():
    origins = {"datac": ROOT, "compiler": Path("/elsewhere"), "searcher": None}
    hidden, absent = installation_problems(origins)
    assert hidden.startswith(f"the package compiler comes from /elsewhere{os.sep}compiler and not")
    assert absent.startswith("the package searcher is not installed beside datac")


def test_an_origin_is_found_without_importing(tmp_path, monkeypatch):
    package = tmp_path / "never_imported"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert origin_of("never_imported") == tmp_path.resolve()
    assert origin_of("not_there_at_all") is None


def test_both_onnxruntimes_are_a_problem_either_alone_is_none():
    (sentence,) = package_problems({"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"})
    assert "overwrite each other" in sentence
    assert package_problems({"onnxruntime": "1.32.0", "onnxruntime-gpu": None}) == ()
    assert package_problems({"onnxruntime-gpu": "1.31.1"}) == ()


def test_json_is_the_document():
    output = bare("--json")
    assert Diagnosis.model_validate(json.loads(output)).schema_ == "datac.diagnosis/1"


def test_on_a_bare_machine_nothing_is_ready_and_every_target_says_how_it_becomes_so():
    diagnosis = Diagnosis.model_validate_json(bare("--json"))
    assert not any(target.can_build or target.can_run for target in diagnosis.targets)
    for target in diagnosis.targets:
        assert target.to_build is not None
        assert "pip install 'datac[" in target.to_build


def test_the_table_shows_extras_as_they_are_written():
    """rich would take [trt] for a style and drop it."""
    output = bare()
    for name in TARGETS:
        assert name in output
    assert "'datac[rtx]'" in output


@pytest.mark.parametrize(("problems", "code"), [((), 0), (("something is broken; mend it",), 3)])
def test_the_exit_code_tells_broken_from_absent(monkeypatch, problems, code):
    monkeypatch.setattr(examination, "package_problems", lambda versions: problems)
    result = CliRunner().invoke(command, [], standalone_mode=False)
    assert result.exception is None
    assert result.return_value == code
    assert all(problem in result.output for problem in problems)


# ---- traps ---------------------------------------------------------------------------------------


def test_a_package_that_pip_lists_and_python_does_not_load_is_broken(monkeypatch):
    """What is left of two ONNX Runtimes when one is uninstalled, or of a stub."""
    why = {"onnxruntime": "is installed here but damaged", "openvino": None}
    monkeypatch.setattr(examination, "why_not_importable", lambda module, _: why[module])
    found = damaged_packages({"onnxruntime": "1.32.0", "openvino": "2026.4.1", "tensorrt": None})
    assert len(found) == 1
    assert found[0].endswith("pip install --force-reinstall --no-deps onnxruntime==1.32.0")


def test_a_driver_that_is_too_old_is_named_with_the_way_out():
    (problem,) = driver_problems({"onnxruntime-gpu": "1.31.1"}, (12, 8))
    assert "the NVIDIA driver runs CUDA up to 12.8" in problem
    assert "update the driver" in problem
    assert driver_problems({"onnxruntime-gpu": "1.26.0"}, (12, 8)) == ()
    assert driver_problems({"onnxruntime-gpu": "1.31.1"}, None) == (), "no GPU, no trap"
    assert driver_problems({}, (12, 8)) == ()


def test_a_library_without_which_the_cuda_provider_falls_back_is_named(monkeypatch):
    monkeypatch.setattr(examination, "_loads", lambda library: library != "libcudnn.so.9")
    (problem,) = driver_problems({"onnxruntime-gpu": "1.31.1"}, (13, 0))
    assert "needs libcudnn.so.9" in problem
    assert "pip install nvidia-cudnn-cu13" in problem
    monkeypatch.setattr(examination, "_loads", lambda _: True)
    assert driver_problems({"onnxruntime-gpu": "1.31.1"}, (13, 0)) == ()
