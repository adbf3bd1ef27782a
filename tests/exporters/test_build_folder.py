"""Digests, manifest and side-cars on disk."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import onnx
import pytest
from onnx import numpy_helper

from datac.documents.build_folder import Manifest, SideCar
from datac.documents.network import DEFAULTS
from datac.documents.read import read_json
from datac.errors import BadInput
from exporters.bench import bench
from exporters.build_folder import (
    engine_folders,
    read_build_genotype,
    read_manifest,
    read_side_car,
    rebuild_command,
    require_intact,
    write_manifest,
)
from exporters.build_folder import sha256 as digest_of
from exporters.check import check
from exporters.export import compile_build
from exporters.request import Request


def test_a_digest_is_that_of_the_bytes(tmp_path):
    for content in (b"", b"datac", bytes(3_000_000)):
        (tmp_path / "file").write_bytes(content)
        assert digest_of(tmp_path / "file") == sha256(content).hexdigest()


def test_a_manifest_lists_what_is_there_but_not_itself(tmp_path, genotype, networks):
    for name in ("model.onnx", "report.json", "report.html", "engines/trt-f32/engine.plan"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    write_manifest(tmp_path, genotype, networks.classification, "given")
    manifest = read_manifest(tmp_path)
    assert set(manifest.files) == {"model.onnx", "engines/trt-f32/engine.plan"}
    assert manifest.files["engines/trt-f32/engine.plan"].made_from == ("model.onnx",)
    assert (manifest.genotype_hash, manifest.weights) == (genotype.hash, "given")
    assert manifest.network == networks.classification


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": "datac.manifest/9"}', "\0"])
def test_a_broken_manifest_is_bad_input(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(BadInput, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b"])
def test_a_manifest_that_points_outside_is_bad_input(build, name):
    manifest = json.loads((build / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["model.onnx"]
    (build / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=r"manifest\.json"):
        read_manifest(build)


def test_intact_means_listed_there_and_of_that_digest(build):
    manifest = read_manifest(build)
    require_intact(build, manifest, tuple(manifest.files))
    with pytest.raises(BadInput, match=r"extra is not listed in manifest\.json"):
        require_intact(build, manifest, ("extra",))
    (build / "model.onnx").write_bytes(b"")
    with pytest.raises(BadInput, match=r"model\.onnx is not the file that manifest\.json desc"):
        require_intact(build, manifest, ("model.py", "model.onnx"))
    (build / "model.onnx").unlink()
    with pytest.raises(BadInput, match=r"model\.onnx is missing"):
        require_intact(build, manifest, ("model.onnx",))


def test_engines_are_those_there_and_those_listed(build):
    manifest = read_manifest(build)
    names = ["onnx-f32", "openvino-f32", "torch-f32"]
    assert [path.name for path in engine_folders(build, manifest)] == names
    (build / "engines/openvino-f32/engine.json").unlink()
    (build / "engines/not-an-engine").mkdir()
    assert [path.name for path in engine_folders(build, manifest)] == names


def test_a_side_car_is_read_once_its_files_are_intact(build):
    manifest, place = read_manifest(build), build / "engines/onnx-f32"
    assert read_side_car(build, place, manifest).target == "onnx"
    (place / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"notes\.txt is not listed"):
        read_side_car(build, place, manifest)


def edit_side_car(build, update_manifest, **changes):
    name = "engines/onnx-f32/engine.json"
    side_car = json.loads((build / name).read_text())
    (build / name).write_text(json.dumps(side_car | changes))
    update_manifest(build, name)
    return read_json(build / "manifest.json", Manifest), build / "engines/onnx-f32"


@pytest.mark.parametrize("engine", ["../../model.onnx", "/dev/zero", ""])
def test_a_side_car_names_a_file_beside_it(build, update_manifest, engine):
    manifest, place = edit_side_car(build, update_manifest, engine=engine)
    with pytest.raises(BadInput, match=r"engine\.json"):
        read_side_car(build, place, manifest)


def test_a_side_car_may_not_name_what_is_not_there(build, update_manifest):
    manifest, place = edit_side_car(build, update_manifest, engine="absent.plan")
    with pytest.raises(BadInput, match=r"absent\.plan is missing"):
        read_side_car(build, place, manifest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "openvino"}, r"describes the engine openvino-f32, which is not the name"),
        ({"precision": "f16"}, r"describes the engine onnx-f16"),
        ({"genotype_hash": "0" * 64}, r"of another genotype or network"),
    ],
)
def test_a_side_car_of_something_else_is_bad_input(build, update_manifest, change, said):
    manifest, place = edit_side_car(build, update_manifest, **change)
    with pytest.raises(BadInput, match=said):
        read_side_car(build, place, manifest)


@pytest.mark.parametrize(
    "change",
    [{"genotype_hash": "0" * 64}, {"network": DEFAULTS["imagenet"]}],
    ids=("genotype", "network"),
)
def test_a_genotype_that_the_manifest_does_not_speak_of_is_bad_input(build, change):
    manifest = read_manifest(build).model_copy(update=change)
    with pytest.raises(BadInput, match=r"genotype\.json is not the genotype and network"):
        read_build_genotype(build, manifest)
    with pytest.raises(BadInput, match="of another genotype or network"):
        read_side_car(build, build / "engines/onnx-f32", manifest)


def test_the_genotype_of_a_build_names_its_network(build, genotype, networks):
    read, network = read_build_genotype(build, read_manifest(build))
    assert (read.hash, network) == (genotype.hash, networks.classification)
    (build / "genotype.json").write_text(genotype.to_json())
    with pytest.raises(BadInput, match="names no network"):
        read_build_genotype(build, read_manifest(build))


# ---- the way out, and trust ----------------------------------------------------------------------


def damaged(build):
    """An engine with other weights than the manifest's: still a model, still runs."""
    path = build / "engines" / "onnx-f32" / "model.onnx"
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name.startswith("head."))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))
    onnx.save(model, path)


def test_a_swapped_engine_is_refused_with_the_command_that_rebuilds_it(build):
    damaged(build)
    command = rf"rebuild it: datac compile {build} --target onnx --precision f32; .* --trust$"
    for use in (check, lambda folder: bench(folder, seconds=0.1)):
        with pytest.raises(BadInput, match=command):
            use(build)


def test_damaged_engines_that_would_stay_are_named_together(build):
    """Not one after the other: either would be in the way of the other."""
    damaged(build)
    side_car = build / "engines" / "openvino-f32" / "engine.json"
    side_car.write_text(side_car.read_text() + " ")
    request = Request(("onnx",), build, threads=1, bench_seconds=0.0)
    both = [str(build / "engines" / name) for name in ("onnx-f32", "openvino-f32")]
    with pytest.raises(BadInput, match=rf"rm -r {both[0]} {both[1]}\)"):
        compile_build(build, replace(request, targets=("torch",)))
    with pytest.raises(BadInput, match=rf"rm -r {both[1]}\)"):
        compile_build(build, request)
    shutil.rmtree(both[1])
    report = compile_build(build, request)
    assert [target.target for target in report.targets] == ["onnx", "torch"]
    assert report.verdict == "pass"


def test_trust_loads_it_and_the_gate_judges_it_all_the_same(build):
    damaged(build)
    report = check(build, trust=True, threads=1)
    found = {target.target: target for target in report.targets}
    assert (found["onnx"].verdict, found["openvino"].verdict) == ("fail", "pass")
    assert "head" in found["onnx"].reason
    assert "onnx-f32" in bench(build, seconds=0.1, trust=True, threads=1).latencies


def test_a_side_car_says_what_its_engine_came_from_and_how_to_make_it_again(build):
    side_car = read_json(build / "engines" / "onnx-f32" / "engine.json", SideCar)
    assert side_car.weights_sha256 == digest_of(build / "weights.safetensors")
    assert side_car.model_sha256 == digest_of(build / "model.onnx")
    assert side_car.rebuild == "datac compile BUILD --target onnx --precision f32"
    assert side_car.driver is None, "no GPU took part"


def test_a_command_for_a_shell_is_quoted_and_int8_needs_data():
    assert rebuild_command("my build; rm", "trt-rtx-int8") == (
        "datac compile 'my build; rm' --target trt-rtx --precision int8 --data DATASET"
    )
