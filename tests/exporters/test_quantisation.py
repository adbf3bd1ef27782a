"""Engines in int8: what stands in their ONNX, the gate on them, what it must not let through."""

import hashlib
import shutil
from dataclasses import replace

import onnx
import onnxruntime
import pytest

from compiler.ops import Quantize, QuantizedConv
from compiler.quantise import convolutions
from datac.datasets import open_dataset
from datac.documents.build_folder import SideCar
from datac.documents.quantisation import CalibratedRange
from datac.documents.read import read_json
from datac.errors import BadInput
from exporters.build_folder import read_manifest
from exporters.check import check
from exporters.export import compile_build, compile_genotype
from exporters.kept import kept_convolutions
from exporters.precision import Plan, own_model
from exporters.quantisation import Calibration
from exporters.request import Request
from exporters.subject import open_subject
from exporters.targets import openvino_trial
from exporters.targets.specialise import specialise_model, write_model
from exporters.targets.target import BuildOptions, TargetFailed
from exporters.task import labelled_inputs


def by_name(report):
    return {f"{r.target}-{r.precision}": r for r in report.targets}


@pytest.fixture(scope="module")
def real(networks):
    """The embedded shapes at the tiny segmentation net's size: (network, val, calibration)."""
    network = networks.segmentation.model_copy(update={"classes": 6})
    dataset = open_dataset("shapes")
    train = labelled_inputs(dataset, network, "train", 64)
    images = tuple(train.input(sample) for sample in train.samples)
    return network, labelled_inputs(dataset, network, "val", 4), Calibration(images)


@pytest.fixture(scope="module")
def whole(genotype, real, tmp_path_factory):
    """A build in int8 for every target that builds here, with the controls that come of it."""
    network, data, calibration = real
    request = Request(
        ("onnx", "openvino", "trt-rtx"),
        tmp_path_factory.mktemp("int8") / "build",
        precisions=("int8",),
        data=data,
        calibration=calibration,
        threads=1,
        bench_seconds=0.2,
        max_drop=1.0,
    )
    return request, compile_genotype(genotype, network, None, request)


@pytest.fixture(scope="module")
def single(whole, tmp_path_factory):
    """The same network with one engine in int8, and its report."""
    out = tmp_path_factory.mktemp("single") / "build"
    request = replace(whole[0], targets=("onnx",), out=out, bench_seconds=0.0)
    genotype = whole[1].genotype
    return request, compile_genotype(genotype, genotype.network, None, request)


def test_an_int8_engine_passes_beside_its_control(whole):
    found = by_name(whole[1])
    assert {"onnx-f32", "onnx-int8", "openvino-f32", "openvino-int8"} <= {*found}
    for target in ("onnx", "openvino"):
        result, control = found[f"{target}-int8"], found[f"{target}-f32"]
        assert (result.status, result.verdict) == ("run", "pass"), result.reason
        assert result.places.wrong == result.places.unseen == ()
        assert result.comparison.control == f"{target} f32"
        assert result.comparison.drop == control.metric.value - result.metric.value
        assert result.comparison.speedup_low <= result.comparison.speedup
        assert control.comparison is None


def test_tensorrt_gets_signed_integers_a_float_bias_and_a_control_in_f16(whole):
    found = by_name(whole[1])
    if found["trt-rtx-int8"].status == "missing":
        pytest.skip(found["trt-rtx-int8"].reason)
    assert found["trt-rtx-f16"].status == found["trt-rtx-int8"].status == "built"
    plan = found["trt-rtx-int8"].quantisation
    assert (plan.activations, plan.bias) == ("int8", "float32")


def test_the_integers_stand_in_the_engines_model_and_not_in_the_canonical_one(whole):
    model = onnx.load(whole[0].out / "engines" / "onnx-int8" / "model.onnx")
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    made = {node.output[0]: node for node in model.graph.node}
    assert all(made[conv.input[1]].op_type == "DequantizeLinear" for conv in convs)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32} <= kinds
    canonical = onnx.load(whole[0].out / "model.onnx")
    assert "QuantizeLinear" not in {node.op_type for node in canonical.graph.node}


def test_onnx_runtime_fuses_every_convolution_into_an_integer_one(whole, tmp_path):
    """Else the engine would be float32 with detours, and slower than that."""
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    settings.log_severity_level = 3
    path = whole[0].out / "engines" / "onnx-int8" / "model.onnx"
    onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    wanted = sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)
    assert kinds.count("QLinearConv") == wanted
    assert "Conv" not in kinds


def test_the_addends_of_a_node_share_one_range(whole):
    subject = open_subject(whole[0].out, read_manifest(whole[0].out))
    plan = by_name(whole[1])["onnx-int8"].quantisation
    graph = subject.deployed(Plan("int8", quantisation=plan))
    steps = {
        node.op
        for node in graph.nodes()
        if isinstance(node.op, Quantize) and "cell0/node2/sum" in graph.users(node.name)
    }
    assert len(steps) == 1


def test_int8_needs_data_and_says_so(compile_tiny):
    with pytest.raises(BadInput, match="calibrated on real inputs; give --data"):
        compile_tiny("onnx", precisions=("int8",))


def test_an_engine_that_loses_too_much_fails(whole):
    report = check(whole[0].out, whole[0].data, max_drop=0.0, threads=1)
    for result in report.targets:
        if result.comparison is None:
            continue
        lost = result.comparison.drop > 0
        assert (result.comparison.outcome == "too much lost") == lost
        assert ("(--max-drop)" in (result.reason or "")) == lost


# ---- what must not pass ------------------------------------------------------------------------


def rebuilt(folder, plan, update_manifest):
    """The onnx engine of another plan, with side-car and manifest that agree with it."""
    subject = open_subject(folder, read_manifest(folder))
    name, car = "engines/onnx-int8/model.onnx", folder / "engines/onnx-int8/engine.json"
    made = Plan("int8", quantisation=plan)
    model = own_model(subject.graph, made, subject.genotype, subject.network)
    options = BuildOptions(subject.input_shape, precision="int8")
    write_model(specialise_model(model, options, "model.onnx"), folder / name)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    changed = {"engine_sha256": digest, "quantisation": plan}
    car.write_text(read_json(car, SideCar).model_copy(update=changed).to_json())
    update_manifest(folder, name, "engines/onnx-int8/engine.json")
    return by_name(check(folder, threads=1))["onnx-int8"]


@pytest.mark.parametrize(("factor", "said"), [(0.2, "its ranges clip"), (200, "is the most")])
def test_ranges_that_do_not_fit_fail_although_the_engine_is_what_its_plan_says(
    single, tmp_path, update_manifest, factor, said
):
    folder = shutil.copytree(single[0].out, tmp_path / "build")
    plan = by_name(single[1])["onnx-int8"].quantisation
    narrow = tuple(
        entry.model_copy(update={"low": entry.low * factor, "high": entry.high * factor})
        for entry in plan.ranges
    )
    result = rebuilt(folder, plan.model_copy(update={"ranges": narrow}), update_manifest)
    assert result.verdict == "fail"
    assert result.places.wrong == (), "the engine computes what it was told"
    assert said in result.reason


def test_a_plan_of_another_network_is_refused(single, tmp_path, update_manifest):
    folder = shutil.copytree(single[0].out, tmp_path / "build")
    car = folder / "engines/onnx-int8/engine.json"
    side_car = read_json(car, SideCar)
    other = (*side_car.quantisation.ranges, CalibratedRange(group="cell9", low=0, high=1))
    plan = side_car.quantisation.model_copy(update={"ranges": other})
    car.write_text(side_car.model_copy(update={"quantisation": plan}).to_json())
    update_manifest(folder, "engines/onnx-int8/engine.json")
    result = by_name(check(folder, threads=1))["onnx-int8"]
    assert (result.status, result.verdict) == ("failed", "fail")
    assert "cell9 has a range and is not quantised" in result.reason


def test_a_weight_one_step_off_is_found_and_named(single, tmp_path, update_manifest):
    folder = shutil.copytree(single[0].out, tmp_path / "build")
    path = folder / "engines/onnx-int8/model.onnx"
    model = onnx.load(path)
    tensor = next(
        t for t in model.graph.initializer if t.name == "cell0.node2.path0.pointwise0.weight"
    )
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[0] += 1 if array.flat[0] < 127 else -1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(model, path)
    car = folder / "engines/onnx-int8/engine.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    changed = {"engine_sha256": digest}
    car.write_text(read_json(car, SideCar).model_copy(update=changed).to_json())
    update_manifest(folder, "engines/onnx-int8/model.onnx", "engines/onnx-int8/engine.json")
    result = by_name(check(folder, threads=1))["onnx-int8"]
    assert result.verdict == "fail"
    assert "cell0/node2/path0" in result.reason


# ---- what is kept ------------------------------------------------------------------------------


def test_what_is_kept_stays_float32_and_the_rest_keeps_its_ranges(single, tmp_path):
    request, _ = single
    kept = replace(request.calibration, kept=("head", "depthwise", "normal/node2/path0"))
    again = replace(
        request, targets=("onnx",), out=tmp_path / "kept", calibration=kept, bench_seconds=0.0
    )
    result = by_name(compile_build(request.out, again))["onnx-int8"]
    assert result.verdict == "pass", result.reason
    subject = open_subject(again.out, read_manifest(again.out))
    graph = subject.deployed(Plan("int8", quantisation=result.quantisation))
    for name in convolutions(subject.graph):
        node = graph[name]
        whole_numbers = isinstance(node.op, QuantizedConv)
        of_cell = name.startswith("cell0/node2/path0")
        depthwise = subject.graph[name].op.groups > 1
        assert whole_numbers != (of_cell or depthwise or name.startswith("head")), name


@pytest.mark.parametrize("word", ["nowhere", "cell9", "normal/node9", "cell0/node2/path", ""])
def test_a_word_that_names_nothing_is_refused(single, word):
    subject = open_subject(single[0].out, read_manifest(single[0].out))
    with pytest.raises(BadInput, match="no convolution of this network is"):
        kept_convolutions(subject.graph, subject.network, [word])


def test_keeping_everything_is_a_sentence(single, tmp_path):
    request, _ = single
    words = ("stem", "head", "normal", "reduction")
    kept = replace(request.calibration, kept=words)
    again = replace(request, out=tmp_path / "kept", calibration=kept)
    with pytest.raises(BadInput, match="leaves no convolution in int8"):
        compile_build(request.out, again)


# ---- OpenVINO's process ------------------------------------------------------------------------


def test_a_process_that_ends_is_a_sentence(tmp_path, monkeypatch):
    """On some quantised graphs OpenVINO does not raise: it takes the process with it."""
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -SEGV $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(openvino_trial.sys, "executable", str(killed))
    with pytest.raises(TargetFailed, match="ends the process with SIGSEGV when it compiles"):
        openvino_trial.try_in_child(tmp_path / "m.onnx", {}, (1, 3, 8, 8))


def test_a_model_that_openvino_refuses_in_the_child_is_a_sentence_too(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(TargetFailed, match="OpenVINO cannot run"):
        openvino_trial.try_in_child(tmp_path / "m.onnx", {"NUM_STREAMS": "1"}, (1, 3, 8, 8))


def test_a_trial_imports_nothing_of_the_folder_that_one_stands_in(whole, tmp_path, monkeypatch):
    """Which may be a build from anywhere."""
    (tmp_path / "numpy.py").write_text("import pathlib; pathlib.Path('hijacked').touch()")
    monkeypatch.chdir(tmp_path)
    engine = whole[0].out / "engines" / "openvino-int8" / "model.onnx"
    openvino_trial.try_in_child(engine, {"NUM_STREAMS": "1"}, (1, 3, 32, 32))
    assert not (tmp_path / "hijacked").exists()
