"""What `runtime.py` says of bad input: one sentence on stderr, and an exit code; no traceback."""

import hashlib
import json
import runpy
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from exporters.standalone import runtime

HOW = {"mean": [0.5] * 3, "standard_deviation": [0.25] * 3}


def small_model(pooled):
    """A 1x1 convolution to two classes; pooled: of the image, not of each pixel."""
    weight = numpy_helper.from_array(np.array([[1, 1, 1], [-1, -1, -1]], np.float32), "weight")
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    shape = [1, 2] if pooled else [1, 2, 4, 4]
    nodes = [helper.make_node("Unsqueeze", ["weight", "axes"], ["kernel"])]
    nodes.append(helper.make_node("Conv", ["input", "kernel"], ["c" if pooled else "logits"]))
    if pooled:
        nodes.append(helper.make_node("ReduceMean", ["c", "axes"], ["logits"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [weight, axes],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def write_engine(folder, *, pooled=False, **changes):
    folder.mkdir(parents=True)
    content = small_model(pooled).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    about = {
        "schema": "datac.engine/1",
        "target": "onnx",
        "engine": "model.onnx",
        "engine_sha256": hashlib.sha256(content).hexdigest(),
        "network": {"classes": 2, "preprocessing": HOW},
        "input_shape": [1, 3, 4, 4],
        "versions": {"onnxruntime": onnx.__version__},
        "device": "cpu",
        "options": {"INFERENCE_PRECISION_HINT": "f32"},
    }
    (folder / "engine.json").write_text(json.dumps(about | changes))


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A build with engines of both kinds, and an image that is half light and half dark."""
    engines = tmp_path / "build/engines"
    write_engine(engines / "onnx-f32")
    openvino = {"target": "openvino", "versions": {"openvino": "2026"}}
    write_engine(engines / "openvino-f32", **openvino)
    write_engine(tmp_path / "labels/engines/onnx-f32", pooled=True)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "notes.txt").write_text("no image")
    whole = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "masks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(monkeypatch, capsys):
    """said("ENGINE IMAGE"): (exit code, stdout, stderr)."""

    def call(line):
        monkeypatch.setattr(sys, "argv", ["runtime.py", *line.split()])
        code = 0
        try:
            runtime.main()
        except SystemExit as ended:
            code = ended.code
        return (code, *capsys.readouterr())

    return call


@pytest.mark.parametrize("engine", ["onnx-f32", "openvino-f32"])
def test_an_image_becomes_shares_and_a_mask(work, said, engine):
    line = f"build/engines/{engine} photo.png masks/mask.png"
    assert said(line) == (0, "0: 50.0%\n1: 50.0%\n", "")
    mask = np.asarray(Image.open("masks/mask.png"))
    np.testing.assert_array_equal(mask, np.repeat([[0], [1]], 4, 0).repeat(8, 1))


@pytest.mark.parametrize("name", ["m.png", "m.bmp", "m.tif", "m.tiff", "m.PNG"])
def test_what_a_mask_may_be_keeps_its_numbers(work, name):
    numbers = np.arange(256, dtype=np.uint8).reshape(16, 16)
    about = {"network": {"classes": 256}}
    runtime.check_mask(work / name)
    runtime.save_mask(numbers, about, (16, 16), work / name)
    np.testing.assert_array_equal(np.asarray(Image.open(work / name)), numbers)


ENGINE = "build/engines/onnx-f32"
BOTH = f"{ENGINE} or build/engines/openvino-f32"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "--help says more"),
        (ENGINE, "--help says more"),
        (f"{ENGINE} a b c", "--help says more"),
        (f"{ENGINE} none.png", "there is no image none.png"),
        (f"{ENGINE} notes.txt", "notes.txt cannot be read as an image"),
        (f"{ENGINE} half.png", "half.png cannot be read as an image"),
        (f"{ENGINE} masks", "masks cannot be read as an image"),
        (f"{ENGINE} deep.png", "deep.png has more than 8 bits a channel"),
        ("build photo.png", f"build is not the folder of an engine: no engine.json; give {BOTH}"),
        ("build/engines photo.png", f"give {BOTH}"),
        ("build/engines/onnx photo.png", f"give {BOTH}"),
        (f"{ENGINE}/model.onnx photo.png", f"give {ENGINE}\n"),
        ("masks photo.png", "give a folder such as build/engines/onnx-f32"),
        ("none/of/these photo.png", "give a folder such as build/engines/onnx-f32"),
        (f"{ENGINE} photo.png masks", "masks is a folder; name a file in it, such as masks/mask."),
        (f"{ENGINE} photo.png none/m.png", "there is no folder none to write m.png to"),
        (f"{ENGINE} photo.png mask.jpg", "mask.jpg: a mask is one of .png, .bmp"),
        (f"{ENGINE} photo.png mask", "mask: a mask is one of .png, .bmp"),
        ("labels/engines/onnx-f32 photo.png mask.png", "answers with one class and makes no mask"),
    ],
)
def test_bad_input_is_one_sentence(work, said, line, sentence):
    code, out, err = said(line)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert not (work / "mask.png").exists()


def test_a_mask_that_cannot_be_written_is_said_before_an_engine_runs(work, said, monkeypatch):
    monkeypatch.setattr(runtime, "Engine", None)
    assert said(f"{ENGINE} photo.png none/m.png")[0] == 2


def test_a_mask_that_fails_to_be_written_is_one_sentence(work, said, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    code, out, err = said(f"{ENGINE} photo.png mask.png")
    assert (code, out) == (2, "")
    assert err.startswith("mask.png cannot be written ([Errno 28] No space left on device); ")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ("{", "engine.json cannot be read (Expecting"),
        ("[]", "engine.json is not as this file knows it"),
        ({"schema": "datac.engine/9"}, "engine.json is not as this file knows it"),
        ({"engine": "other.onnx"}, "other.onnx is not the engine that engine.json describes"),
        ({"engine_sha256": "0"}, "model.onnx is not the engine that engine.json describes"),
        ({"network": {"classes": 2}}, "the build says nothing of its preprocessing"),
        ({"target": "torch"}, "this file runs engines of onnx, openvino, trt, trt-rtx; torch is"),
    ],
)
def test_a_damaged_engine_is_one_sentence(work, said, changes, sentence):
    path = work / ENGINE / "engine.json"
    if isinstance(changes, dict):
        changes = json.dumps(json.loads(path.read_text()) | changes)
    path.write_text(changes)
    code, out, err = said(f"{ENGINE} photo.png")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_what_a_package_refuses_is_one_sentence(tmp_path, work, said, target):
    content = b"no model"
    package = {"onnx": "onnxruntime", "openvino": "openvino"}[target]
    digest = hashlib.sha256(content).hexdigest()
    write_engine(
        tmp_path / "other", target=target, engine_sha256=digest, versions={package: "99.1"}
    )
    (tmp_path / "other/model.onnx").write_bytes(content)
    code, out, err = said("other photo.png")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"{package} refuses other/model.onnx (")
    assert err.endswith(f"); it was made with {package} 99.1\n")


@pytest.mark.parametrize(
    ("engine", "package"), [("onnx-f32", "onnxruntime"), ("openvino-f32", "openvino")]
)
def test_a_package_that_is_not_here_is_named(work, said, monkeypatch, engine, package):
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = said(f"build/engines/{engine} photo.png")
    assert (code, out) == (3, "")
    assert f"needs {package}, which does not load here" in err
    assert err.endswith(f"; pip install {package}\n")


@pytest.mark.parametrize("package", ["numpy", "PIL"])
def test_without_pillow_or_numpy_it_says_so(monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(runtime.__file__, run_name="__main__")
    assert ended.value.code == 3
    err = capsys.readouterr().err
    assert err.startswith("this needs numpy and pillow (")
    assert err.endswith("); pip install numpy pillow\n")
    with pytest.raises(ImportError):  # a program that imports it is not ended
        runpy.run_path(runtime.__file__, run_name="runtime")


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_an_answer(said, word):
    code, out, err = said(word)
    assert (code, err) == (0, "")
    assert "python runtime.py engines/onnx-f32 street.png mask.png" in out


def test_a_program_gets_an_exception(work):
    with pytest.raises(runtime.CannotRun, match=r"no engine\.json; give ") as raised:
        runtime.Engine("build")
    assert isinstance(raised.value, RuntimeError)
    assert raised.value.code == 2
    image = np.asarray(Image.open("photo.png"))
    assert runtime.Engine(ENGINE)(image).shape == (2, 4, 4)
