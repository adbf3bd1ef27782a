"""Images through an engine: by `datac predict`, and by `runtime.py` where there is no datac."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compiler.lower import INPUT
from datac.cli import run
from datac.datasets import open_dataset
from datac.datasets.preprocess import prepared_network, preprocess
from datac.errors import BadInput, PlatformMissing
from exporters.build_folder import read_manifest
from exporters.check import check
from exporters.export import compile_genotype
from exporters.predict import predict
from exporters.reference import load_reference
from exporters.request import Request
from exporters.targets import resolve
from exporters.targets.target import BuildOptions, Engine

BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "datac", "compiler", "exporters", "searcher"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.argv[:] = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def network_on(network, name):
    dataset = open_dataset(name)
    classes = len(dataset.classes.names)
    return prepared_network(network.model_copy(update={"classes": classes}), dataset)


@pytest.fixture(scope="module")
def street(genotype, networks, tmp_path_factory):
    """A segmentation build that knows its preprocessing, and a folder of drawn images."""
    folder = tmp_path_factory.mktemp("street")
    network = network_on(networks.segmentation, "shapes")
    settings = {"threads": 1, "bench_seconds": 0.0}
    targets = ("onnx", "openvino", "torch")
    compile_genotype(genotype, network, None, Request(targets, folder / "build", **settings))
    (folder / "photos").mkdir()
    draw = np.random.default_rng(0)
    for name, size in (("a.png", (32, 32)), ("b.jpg", (50, 41)), ("notes.txt", None)):
        path = folder / "photos" / name
        if size is None:
            path.write_text("no image")
        else:
            Image.fromarray(draw.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return folder


def mask(path):
    return np.asarray(Image.open(path))


def test_masks_are_torchs_and_as_large_as_their_images(street, tmp_path):
    build = street / "build"
    for engine in ("onnx-f32", "openvino-f32", "torch-f32"):
        done = predict(build, street / "photos", tmp_path / engine, engine=engine, threads=1)
        assert (done.engine, done.images) == (engine, 2)
        assert 0 < done.engine_ms < done.whole_ms
    names = {path.name for path in (tmp_path / "onnx-f32").iterdir()} - {".datac.json"}
    assert names == {"a.png", "b.png"}
    assert mask(tmp_path / "onnx-f32/b.png").shape == (50, 41)
    for name in names:
        expected = mask(tmp_path / "torch-f32" / name)
        for engine in ("onnx-f32", "openvino-f32"):
            assert np.mean(mask(tmp_path / engine / name) == expected) > 0.999


def test_a_mask_holds_class_numbers_in_the_colours_of_the_classes(street, tmp_path):
    build = street / "build"
    predict(build, street / "photos/a.png", tmp_path / "out", engine="onnx-f32", threads=1)
    image = Image.open(tmp_path / "out/a.png")
    network = read_manifest(build).network
    pixels = np.asarray(Image.open(street / "photos/a.png").convert("RGB"))
    x = preprocess(pixels, network.preprocessing)[None]
    options = BuildOptions((1, *network.input), threads=1)
    place = build / "engines/onnx-f32"
    with resolve("onnx").load(place, Engine("model.onnx", {}, "cpu"), options) as runner:
        expected = runner.run({INPUT: x})["logits"][0].argmax(0)
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), expected)
    assert image.getpalette()[: 3 * network.classes] == list(np.ravel(network.class_info.colors))


@pytest.mark.parametrize("engine", ["onnx-f32", "openvino-f32"])
def test_the_file_beside_the_model_does_the_same_without_datac(street, tmp_path, engine):
    build, photo = street / "build", street / "photos/b.jpg"
    predict(build, photo, tmp_path / "out", engine=engine, threads=1)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            BLOCK,
            str(build / "runtime.py"),
            str(build / "engines" / engine),
            str(photo),
            str(tmp_path / "mask.png"),
        ],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "background: " in done.stdout
    assert np.array_equal(mask(tmp_path / "mask.png"), mask(tmp_path / "out/b.png"))
    ours, theirs = (Image.open(tmp_path / name) for name in ("mask.png", "out/b.png"))
    assert ours.getpalette()[:12] == theirs.getpalette()[:12]


def by_itself(build, photo):
    """`runtime.py` of a build, on its ONNX engine and an image."""
    return subprocess.run(
        [sys.executable, str(build / "runtime.py"), str(build / "engines/onnx-f32"), str(photo)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_file_loads_no_engine_that_was_swapped(street, tmp_path):
    build = shutil.copytree(street / "build", tmp_path / "build")
    with (build / "engines/onnx-f32/model.onnx").open("ab") as file:
        file.write(b"x")
    done = by_itself(build, street / "photos/a.png")
    assert done.returncode == 2
    assert "is not the engine that engine.json describes" in done.stderr
    with pytest.raises(BadInput, match=r"is not the file that manifest\.json describes"):
        predict(build, street / "photos", tmp_path / "out", engine="onnx-f32")


def test_the_file_says_what_a_build_lacks(build, street):
    done = by_itself(build, street / "photos/a.png")
    assert done.returncode == 2
    assert "says nothing of its preprocessing; compile it with --data" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_runtime_that_is_not_datacs_fails_the_gate(street, tmp_path, update_manifest):
    build = shutil.copytree(street / "build", tmp_path / "build")
    assert check(build, threads=1).verdict == "pass"
    (build / "runtime.py").write_text("print('mine')\n")
    update_manifest(build, "runtime.py")
    report = check(build, threads=1)
    assert report.verdict == "fail"
    assert "runtime.py: not what datac writes" in report.structure.differences[-1]


def test_labels_are_a_line_for_each_image(genotype, networks, tmp_path):
    network = network_on(networks.classification, "shapes-classification")
    build = tmp_path / "build"
    compile_genotype(genotype, network, None, Request(("onnx",), build, bench_seconds=0.0))
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, case in enumerate(load_reference(build / "reference.npz").cases[:2]):
        pixels = np.clip(case.input[0].transpose(1, 2, 0) * 40 + 128, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(photos / f"{index}.png")
    predict(build, photos, tmp_path / "out", engine=None, threads=1)
    lines = [json.loads(line) for line in (tmp_path / "out/labels.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == ["0.png", "1.png"]
    for line in lines:
        assert line["name"] == network.class_info.names[line["class"]]
        assert 1 / network.classes <= line["probability"] <= 1


def test_what_cannot_be_predicted_is_refused(street, build, tmp_path):
    good, out = street / "build", tmp_path / "out"
    refusals = [
        ((good, tmp_path / "none", None), "there is no such image or folder"),
        ((good, street / "build/engines", None), "holds no images"),
        ((good, street / "photos/notes.txt", None), "notes.txt"),
        ((good, street / "photos", "trt-f16"), "has no engine trt-f16; it has onnx-f32, "),
        ((build, street / "photos", None), "does not say how an image is prepared"),
    ]
    for (folder, images, engine), said in refusals:
        with pytest.raises(BadInput, match=said):
            predict(folder, images, out, engine=engine)
        assert not out.exists()
    twins = tmp_path / "twins"
    twins.mkdir()
    for name in ("a.png", "a.jpg"):
        shutil.copyfile(street / "photos" / "a.png", twins / name)
    with pytest.raises(BadInput, match=r"would both become a\.png"):
        predict(good, twins, out, engine=None)


def test_a_damaged_image_of_a_folder_is_named_and_the_others_are_done(street, tmp_path, capsys):
    photos, out = shutil.copytree(street / "photos", tmp_path / "photos"), tmp_path / "out"
    (photos / "aa.png").write_bytes((photos / "a.png").read_bytes()[:100])
    assert run(["predict", str(street / "build"), str(photos), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("2 images by onnx-f32")
    assert f"datac: {photos / 'aa.png'}: not a whole image" in said.err
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png"]
    for name in ("a.png", "b.jpg"):
        (photos / name).write_bytes(b"")
    with pytest.raises(BadInput, match="not a whole image"):
        predict(street / "build", photos, tmp_path / "none", engine=None)
    assert not (tmp_path / "none").exists()


def test_an_engine_that_cannot_run_here_is_missing(street, tmp_path, monkeypatch):
    target = type(resolve("onnx"))
    missing = resolve("trt").missing()
    assert missing is not None
    monkeypatch.setattr(target, "missing_to_run", lambda self: missing)
    with pytest.raises(PlatformMissing, match="onnx-f32 cannot run: "):
        predict(street / "build", street / "photos", tmp_path / "out", engine="onnx-f32")
    assert Path(street / "build").is_dir()
