"""From a folder of labelled images to checked engines, command by command, on real parts."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from datac.documents.genotype import Genotype
from datac.documents.read import read_json
from datac.documents.report import Report

ROOT = Path(__file__).parents[2]

SMALL = ("--channels", "4", "--cells", "3", "--epochs", "1", "--device", "cpu")
ROADS = {
    "classification": ("photos", ("--network", "cifar", "--input", "3x16x16", "--batch-size", "8")),
    "segmentation": (
        "scenes",
        ("--channels", "8", "--input", "3x32x32", "--head-channels", "4", "--batch-size", "4"),
    ),
}
"""Task → data set, and the options of a network and a run that take seconds."""

ENGINES = ("onnx", "openvino", "torch")
BUILT_ONLY = ("trt-rtx",) if find_spec("tensorrt_rtx") else ()


def datac(folder, *arguments):
    """The command line in a process of its own; what it printed on stdout."""
    # Two workers of a busy machine that spin while they wait for each other take seconds a step.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-m", "datac", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"datac {' '.join(arguments)}\n{done.stderr}"
    return done.stdout


def draw(seed):
    """(image, mask): a bright square somewhere on dark noise, 32x32."""
    source = np.random.default_rng(seed)
    image = source.integers(0, 120, (32, 32, 3)).astype(np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    top, left = source.integers(0, 16, 2)
    image[top : top + 14, left : left + 14] += 120
    mask[top : top + 14, left : left + 14] = 1
    return image, mask


def photos(folder):
    """An image folder: dark noise and bright noise."""
    for split, count in (("train", 8), ("val", 4)):
        for number, name in enumerate(("dark", "light")):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                image = draw(index)[0] // 2 + np.uint8(120 * number)
                Image.fromarray(image).save(folder / split / name / f"{index}.png")


SCENES = """
[classes]
names = ["background", "square"]
[splits.train]
images = "train/*.png"
labels = "trainannot/{}.png"
[splits.val]
images = "val/*.png"
labels = "valannot/{}.png"
"""


def scenes(folder):
    """Images with masks, described by a `data.toml`."""
    for split, seeds in (("train", range(16)), ("val", range(16, 22))):
        for name in (split, f"{split}annot"):
            (folder / name).mkdir(parents=True)
        for seed in seeds:
            image, mask = draw(seed)
            Image.fromarray(image).save(folder / split / f"{seed}.png")
            Image.fromarray(mask).save(folder / f"{split}annot" / f"{seed}.png")
    (folder / "data.toml").write_text(SCENES)


@pytest.fixture(scope="module", params=list(ROADS))
def road(request, tmp_path_factory):
    """(folder, data, task): search, train and compile were run in it."""
    folder = tmp_path_factory.mktemp(request.param)
    data, options = ROADS[request.param]
    {"photos": photos, "scenes": scenes}[data](folder / data)
    targets = [word for name in (*ENGINES, *BUILT_ONLY) for word in ("--target", name)]
    datac(folder, "search", "--data", data, *SMALL, *options)
    train = ("--inherit", "run", "--epochs", "2", "--batch-size", "4", "--device", "cpu")
    datac(folder, "train", "genotype.json", "--data", data, *train)
    measured = ("--data", data, "--threads", "1", "--bench-seconds", "0.3")
    datac(folder, "compile", "child/genotype.json", "--weights", "child", *targets, *measured)
    return folder, data, request.param


def test_the_search_leaves_its_genotype_in_both_places(road):
    folder, _, task = road
    genotype = read_json(folder / "genotype.json", Genotype)
    assert (folder / "run/genotype.json").read_bytes() == (folder / "genotype.json").read_bytes()
    assert genotype.network.task == task
    assert genotype.provenance.method == "data"


def test_the_child_is_the_searched_genotype(road):
    folder, _, _ = road
    child = read_json(folder / "child/genotype.json", Genotype)
    assert child.hash == read_json(folder / "genotype.json", Genotype).hash


def test_every_engine_is_within_its_tolerance_and_agrees_on_the_task(road):
    folder, _, task = road
    report = read_json(folder / "build/report.json", Report)
    assert report.verdict == report.structure.verdict == report.canonical.verdict == "pass"
    results = {result.target: result for result in report.targets}
    assert list(results) == [*ENGINES, *BUILT_ONLY]
    for name in ENGINES:
        result = results[name]
        assert (result.status, result.verdict) == ("run", "pass")
        assert result.error.rms <= result.error.tolerance
        assert result.metric.name == ("miou" if task == "segmentation" else "accuracy")
        assert result.metric.agreement > 0.999
        assert result.metric.value == pytest.approx(results["onnx"].metric.value, abs=0.001)
        assert result.latency_ms.median > 0
    for name in BUILT_ONLY:
        assert results[name].status in ("run", "built")
    assert (folder / "build/report.html").is_file()


def test_preprocessing_and_classes_travel_to_every_engine(road):
    folder, _, _ = road
    network = read_json(folder / "child/genotype.json", Genotype).network
    assert network.preprocessing is not None
    assert len(network.class_info.names) == network.classes
    session = onnxruntime.InferenceSession(folder / "build/model.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    held = json.loads(metadata["datac.network"])
    for side_car in (folder / "build/engines").glob("*/engine.json"):
        described = json.loads(side_car.read_text())["network"]
        assert described["preprocessing"]["mean"] == held["preprocessing"]["mean"]
        assert described["class_info"]["names"] == list(network.class_info.names)


def test_the_gate_passes_again_from_the_build_alone(road):
    folder, data, _ = road
    printed = datac(folder, "check", "build", "--data", data, "--threads", "1", "--json")
    again = Report.model_validate_json(printed)
    before = read_json(folder / "build/report.json", Report)
    assert again.verdict == "pass"
    for one, other in zip(
        sorted(again.targets, key=lambda result: result.target),
        sorted(before.targets, key=lambda result: result.target),
        strict=True,
    ):
        assert (one.target, one.digest, one.metric) == (other.target, other.digest, other.metric)


def test_a_seeded_input_gets_one_answer_from_model_py_and_onnx(road):
    """As a user would run them: without datac."""
    folder, _, task = road
    size = (1, 3, 32, 32) if task == "segmentation" else (1, 3, 16, 16)
    script = (
        "import sys, numpy, torch, model\n"
        "x = torch.from_numpy(numpy.load('../x.npy'))\n"
        "with torch.inference_mode():\n"
        "    numpy.save('../y.npy', model.load()(x).numpy())\n"
    )
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    np.save(folder / "x.npy", x)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", script], cwd=folder / "build", env=environment, check=True
    )
    (expected,) = onnxruntime.InferenceSession(folder / "build/model.onnx").run(None, {"input": x})
    assert np.load(folder / "y.npy") == pytest.approx(expected, abs=1e-4)
