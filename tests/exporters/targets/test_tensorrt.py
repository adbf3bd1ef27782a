"""TensorRT: what is said where it is not, and what its builder is told. It was not run."""

import sys
from enum import IntEnum
from types import SimpleNamespace

import pytest

from datac.errors import BadInput, PlatformMissing
from exporters.targets import resolve
from exporters.targets.target import BuildOptions
from exporters.targets.tensorrt import timing_cache_file
from exporters.targets.tensorrt_builder import (
    _attach_timings,
    _set_capabilities,
    _set_flags,
    describe_error,
    network_flags,
)


@pytest.fixture
def not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)


@pytest.fixture
def installed(monkeypatch):
    module = SimpleNamespace(Builder=object, __version__="11.4.0", __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tensorrt", module)


def test_not_installed_is_one_sentence_with_the_command(not_installed):
    assert str(resolve("trt").missing()) == (
        "TensorRT is not installed here; install it as NVIDIA documents (pip install "
        "'datac[trt]' with NVIDIA's package index), then run: datac compile BUILD --target trt"
    )


def test_it_never_builds_with_tensorrt_rtx_instead(not_installed, model, folder):
    with pytest.raises(PlatformMissing, match="TensorRT is not installed"):
        resolve("trt").build(model, BuildOptions((1, 3, 8, 8)), folder)
    assert list(folder.iterdir()) == []


def test_installed_without_a_driver_asks_for_the_machine_with_the_gpu(installed, no_driver):
    missing = str(resolve("trt").missing())
    assert "builds on the GPU that will run the engine" in missing
    assert missing.endswith("datac compile BUILD --target trt")


def test_installed_with_a_driver_it_is_ready(installed, driver):
    assert resolve("trt").missing() is None
    assert resolve("trt").missing_to_run() is None


def test_libraries_that_do_not_load_are_told_apart_from_no_package(monkeypatch, tmp_path):
    """As tensorrt-cu13-bindings is without its libraries."""
    (tmp_path / "tensorrt.py").write_text(
        "raise ImportError('libnvonnxparser.so.11: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    missing = str(resolve("trt").missing())
    assert "is installed here but does not load (libnvonnxparser.so.11" in missing


@pytest.mark.parametrize(
    ("names", "flags"),
    [
        (["EXPLICIT_BATCH"], 0b1),  # 8.6
        (["EXPLICIT_BATCH", "STRONGLY_TYPED"], 0b11),  # 10
        (["STRONGLY_TYPED"], 0b1),  # 11, where EXPLICIT_BATCH is gone
    ],
)
def test_flags_are_found_by_feature(names, flags):
    creation = IntEnum("Creation", names, start=0)
    assert network_flags(SimpleNamespace(NetworkDefinitionCreationFlag=creation)) == flags


@pytest.mark.parametrize(
    ("shape", "smallest", "largest"),
    [
        ((1, 3, 33, 47), (1, 3, 16, 23), (2, 3, 66, 94)),
        ((8, 3, 1, 1), (4, 3, 1, 1), (16, 3, 2, 2)),
    ],
)
def test_a_profile_spans_half_to_twice_but_for_channels(shape, smallest, largest):
    span = BuildOptions(shape, dynamic_height_width=True).span
    assert (span.min, span.opt, span.max) == (smallest, shape, largest)


def test_parser_errors_of_old_versions_have_no_node():
    old = SimpleNamespace(desc=lambda: "Assertion\n failed.")
    assert describe_error(old) == "Assertion failed"


@pytest.mark.parametrize(("refittable", "flags"), [(False, set()), (True, {"REFIT"})])
def test_an_engine_can_get_new_weights_where_that_was_asked_for(refittable, flags):
    found = {"TF32"}
    config = SimpleNamespace(clear_flag=found.remove, set_flag=found.add)
    trt = SimpleNamespace(BuilderFlag=SimpleNamespace(TF32="TF32", REFIT="REFIT"))
    _set_flags(trt, config, BuildOptions((1, 3, 8, 8), refittable=refittable))
    assert found == flags


def test_compute_capabilities_are_for_rtx_alone():
    with pytest.raises(BadInput, match="for --target trt-rtx only"):
        _set_capabilities(SimpleNamespace(), None, ["8.6"])


def test_timings_lie_in_the_users_cache_one_file_a_gpu_and_version(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = timing_cache_file("11.4.0.106", "NVIDIA A100-SXM4/80GB")
    assert path == tmp_path / "datac" / "tensorrt-11.4.0.106-NVIDIA-A100-SXM4-80GB.timings"


def test_timings_of_another_gpu_are_begun_anew(tmp_path):
    path = tmp_path / "other.timings"
    path.write_bytes(b"of another GPU")
    given = []

    class Config:
        def create_timing_cache(self, content):
            return content

        def set_timing_cache(self, timings, ignore_mismatch):
            given.append(timings)
            return timings == b"" and ignore_mismatch is False

    assert _attach_timings(Config(), path) == b""
    assert given == [b"of another GPU", b""]
    assert _attach_timings(Config(), None) is None
