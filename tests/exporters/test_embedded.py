"""Engines that take images and answer with class numbers: the same network, judged as such."""

import hashlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from compiler.lower import CLASSES, IMAGE, INPUT, OUTPUT
from datac.datasets import open_dataset
from datac.datasets.preprocess import prepared_network, preprocess
from datac.documents.build_folder import SideCar
from datac.documents.network import Preprocessing
from datac.documents.read import read_json
from datac.errors import BadInput
from exporters.bench import bench
from exporters.build_folder import read_manifest
from exporters.check import check
from exporters.embedded import to_image
from exporters.export import compile_build, compile_genotype
from exporters.predict import predict
from exporters.quantisation import Calibration
from exporters.reduce import reduce
from exporters.reference import load_reference
from exporters.request import Request
from exporters.task import labelled_inputs

BOTH = ("preprocess", "argmax")


def by_name(report):
    return {f"{r.target}-{r.precision}": r for r in report.targets}


def network_on(network, name, **changes):
    dataset = open_dataset(name)
    network = network.model_copy(update={"classes": len(dataset.classes.names)})
    prepared = prepared_network(network, dataset)
    how = prepared.preprocessing.model_copy(update=changes)
    return prepared.model_copy(update={"preprocessing": how})


@pytest.fixture(scope="module")
def data(networks):
    network = network_on(networks.segmentation, "shapes", color_order="BGR")
    dataset = open_dataset("shapes")
    train = labelled_inputs(dataset, network, "train", 64)
    images = tuple(train.input(sample) for sample in train.samples)
    return network, labelled_inputs(dataset, network, "val", 4), Calibration(images)


@pytest.fixture(scope="module")
def whole(genotype, data, tmp_path_factory):
    """Both parts, in every precision of this machine, BGR and with real samples."""
    network, samples, calibration = data
    request = Request(
        ("onnx", "openvino", "trt-rtx", "torch"),
        tmp_path_factory.mktemp("embedded") / "build",
        precisions=("f32", "f16", "int8"),
        data=samples,
        calibration=calibration,
        embed=BOTH,
        threads=1,
        bench_seconds=0.1,
        max_drop=1.0,
    )
    return request, compile_genotype(genotype, network, None, request)


@pytest.fixture(scope="module")
def plain(genotype, data, tmp_path_factory):
    """A build of the same network with one engine, nothing embedded."""
    out = tmp_path_factory.mktemp("plain") / "build"
    request = Request(("onnx",), out, threads=1, bench_seconds=0.0)
    compile_genotype(genotype, data[0], None, request)
    return out


@pytest.mark.parametrize(
    "name", ["onnx-f32", "onnx-f16", "onnx-int8", "openvino-f32", "openvino-f16", "openvino-int8"]
)
def test_every_engine_passes_and_is_timed(whole, name):
    result = by_name(whole[1])[name]
    if result.status == "missing":
        pytest.skip(result.reason)
    assert (result.status, result.verdict) == ("run", "pass"), result.reason
    assert result.embedded == BOTH
    assert {error.output for error in result.outputs} == {CLASSES}
    assert result.places.wrong == result.places.unseen == ()
    assert result.latency_ms is not None
    assert result.metric.agreement > 0.8


def test_torch_stays_the_network_alone_and_tensorrt_builds(whole):
    found = by_name(whole[1])
    assert found["torch-f32"].embedded == ()
    assert found["torch-f32"].verdict == "pass"
    if found["trt-rtx-f32"].status != "missing":
        assert {found[f"trt-rtx-{p}"].status for p in ("f32", "f16", "int8")} == {"built"}


def test_the_file_reads_uint8_and_answers_int32(whole):
    model = onnx.load(whole[0].out / "engines" / "onnx-f32" / "model.onnx")
    (image,), (classes,) = model.graph.input, model.graph.output
    assert (image.name, classes.name) == (IMAGE, CLASSES)
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert classes.type.tensor_type.elem_type == onnx.TensorProto.INT32
    sizes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (image, classes)]
    assert sizes == [[1, 32, 32, 3], [1, 32, 32]]
    canonical = onnx.load(whole[0].out / "model.onnx")
    assert canonical.graph.input[0].name == INPUT


def test_an_image_gives_the_classes_that_preprocessing_and_network_give(whole, data):
    network, _, _ = data
    folder = whole[0].out
    session = onnxruntime.InferenceSession(
        str(folder / "engines" / "onnx-f32" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    plain = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    how = network.preprocessing.model_copy(update={"resize": None})
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (1, 32, 32, 3), np.uint8)
    classes = session.run(None, {IMAGE: image})[0]
    logits = plain.run([OUTPUT], {INPUT: preprocess(image[0], how)[None]})[0]
    assert (classes == logits.argmax(1)).mean() > 0.999


@pytest.mark.parametrize("parts", [("preprocess",), ("argmax",)])
def test_each_part_alone(plain, tmp_path, parts):
    request = Request(("onnx",), tmp_path / "one", embed=parts, threads=1, bench_seconds=0.0)
    result = by_name(compile_build(plain, request))["onnx-f32"]
    assert (result.verdict, result.embedded) == ("pass", parts)
    outputs = {error.output for error in result.outputs}
    assert outputs == {CLASSES if parts == ("argmax",) else OUTPUT}


def test_open_sizes_and_any_batch(plain, tmp_path):
    request = Request(
        ("onnx", "openvino"),
        tmp_path / "open",
        embed=BOTH,
        dynamic=True,
        threads=1,
        bench_seconds=0.0,
    )
    found = by_name(compile_build(plain, request))
    for name in ("onnx-f32", "openvino-f32"):
        assert found[name].verdict == "pass", found[name].reason
        assert "odd-size" in {error.input for error in found[name].outputs}


def test_a_classification_answers_with_one_number(genotype, networks, tmp_path):
    network = network_on(networks.classification, "shapes-classification")
    settings = {"embed": BOTH, "threads": 1, "bench_seconds": 0.0}
    request = Request(("onnx", "openvino"), tmp_path / "build", **settings)
    report = compile_genotype(genotype, network, None, request)
    assert report.verdict == "pass"
    sample = open_dataset("shapes-classification").splits["val"][0]
    Image.fromarray(sample.image).save(tmp_path / "x.png")
    predict(tmp_path / "build", tmp_path / "x.png", tmp_path / "out", engine="onnx-f32")
    assert '"probability"' not in (tmp_path / "out" / "labels.jsonl").read_text()


def test_without_stated_preprocessing_nothing_can_be_embedded(genotype, networks, tmp_path):
    request = Request(("onnx",), tmp_path / "build", embed=("preprocess",), threads=1)
    with pytest.raises(BadInput, match="does not say; give --data"):
        compile_genotype(genotype, networks.classification, None, request)
    assert not (tmp_path / "build").exists()


# ---- use ---------------------------------------------------------------------------------------


def test_predict_bench_and_runtime_give_it_images(whole, tmp_path):
    build = whole[0].out
    photo = tmp_path / "photo.png"
    draw = np.random.default_rng(1)
    Image.fromarray(draw.integers(0, 256, (50, 41, 3), np.uint8)).save(photo)
    masks = {}
    for engine in ("onnx-f32", "openvino-f32", "torch-f32"):
        predict(build, photo, tmp_path / engine, engine=engine, threads=1)
        masks[engine] = np.asarray(Image.open(tmp_path / engine / "photo.png"))
        assert masks[engine].shape == (50, 41)
    assert (masks["onnx-f32"] == masks["torch-f32"]).mean() > 0.99
    for engine in ("onnx-f32", "openvino-f32"):
        command = [sys.executable, str(build / "runtime.py"), str(build / "engines" / engine)]
        target = tmp_path / f"{engine}.png"
        subprocess.run([*command, str(photo), str(target)], check=True, capture_output=True)
        np.testing.assert_array_equal(np.asarray(Image.open(target)), masks[engine])
    assert "onnx-f32" in bench(build, seconds=0.1, threads=1).latencies


# ---- what must not pass ------------------------------------------------------------------------


def damaged(folder, update_manifest, change):
    """The onnx engine with a constant changed, and side-car and manifest that agree."""
    path = folder / "engines" / "onnx-f32" / "model.onnx"
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    name, factor = change
    array = onnx.numpy_helper.to_array(tensors[name]) * np.float32(factor)
    tensors[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    car = folder / "engines" / "onnx-f32" / "engine.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    side_car = read_json(car, SideCar)
    car.write_text(side_car.model_copy(update={"engine_sha256": digest}).to_json())
    update_manifest(folder, "engines/onnx-f32/model.onnx", "engines/onnx-f32/engine.json")
    return by_name(check(folder, threads=1))["onnx-f32"]


def test_another_mean_is_found(plain, tmp_path, update_manifest):
    folder = tmp_path / "build"
    request = Request(("onnx",), folder, embed=BOTH, threads=1, bench_seconds=0.0)
    compile_build(plain, request)
    result = damaged(folder, update_manifest, ("input/input/mean", 0.9))
    assert result.verdict == "fail"
    assert "input" in result.reason


def test_classes_that_no_rounding_explains_fail(whole):
    """The judge of class numbers by itself, on an engine that swaps two."""
    from exporters.class_numbers import judge_classes

    folder = whole[0].out
    cases = load_reference(folder / "reference.npz").cases
    logits = [case.outputs[OUTPUT] for case in cases]

    class Swapping:
        def __init__(self, rate):
            self.rate, self.turn = rate, iter(logits)

        def run(self, inputs):
            classes = next(self.turn).argmax(1)
            flat = classes.reshape(-1)
            flat[: round(self.rate * flat.size)] = (flat[: round(self.rate * flat.size)] + 1) % 6
            return {CLASSES: classes.astype(np.int32)}

    assert judge_classes(Swapping(0.0), cases, logits, 1e-7).verdict == "pass"
    found = judge_classes(Swapping(0.01), cases, logits, 1e-7)
    assert found.verdict == "fail"
    assert "decides on input" in found.reason
    assert read_manifest(folder).network.classes == 6


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "there is no output classes"),
        ({CLASSES: np.zeros((1, 3), np.int32)}, "has shape"),
        ({CLASSES: np.full((1, 2), 7, np.int32)}, "numbers of no class"),
        ({CLASSES: np.full((1, 2), -1, np.int32)}, "numbers of no class"),
        ({CLASSES: np.ones((1, 2), np.int32)}, "100% of the decisions"),
    ],
)
def test_answers_of_another_form_fail_for_good(answer, said):
    from exporters.class_numbers import judge_classes
    from exporters.reference import Case

    class Runner:
        def run(self, inputs):
            return answer

    logits = np.zeros((1, 3, 2))
    found = judge_classes(
        Runner(), [Case("x", np.zeros((1, 3, 1, 2), np.float32), {})], [logits], 1
    )
    assert found.malformed
    assert said in found.reason


HOW = Preprocessing(mean=(0.4, 0.5, 0.6), standard_deviation=(0.2, 0.25, 0.3))


@given(arrays(np.uint8, (2, 5, 4, 3)), st.sampled_from(["RGB", "BGR"]))
def test_an_image_survives_preparation(images, order):
    how = HOW.model_copy(update={"color_order": order})
    prepared = np.stack([preprocess(image, how) for image in images])
    np.testing.assert_array_equal(to_image(prepared, how), images)


@pytest.mark.parametrize("logits", [np.zeros((1, 1, 2)), np.zeros((1, 3, 2))])
def test_one_class_or_no_difference_is_no_crash(logits):
    from exporters.class_numbers import judge_classes
    from exporters.reference import Case

    class Runner:
        def run(self, inputs):
            return {CLASSES: np.zeros((1, 2), np.int32)}

    case = Case("x", np.zeros((1, 3, 1, 2), np.float32), {})
    assert judge_classes(Runner(), [case], [logits], 1e-6).verdict == "pass"


def test_a_place_of_such_an_engine_can_be_cut_out(whole, tmp_path):
    for engine in ("onnx-f32", "openvino-int8"):
        found = reduce(whole[0].out, tmp_path / engine, engine=engine, place="cell0/node2")
        assert found.engine == engine
        assert (tmp_path / engine / "model.onnx").is_file()
