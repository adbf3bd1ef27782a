"""Engines that are whole by every digest, and yet not what the build makes."""

import hashlib
import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load, save

from exporters.check import check
from exporters.targets import resolve


def results(report):
    return {result.target: result for result in report.targets}


def forge(build, update_manifest, name, change, **more):
    """Change an engine, and make side-car and manifest agree with it."""
    path = build / name
    path.write_bytes(change(path.read_bytes()))
    side_car = path.parent / "engine.json"
    described = json.loads(side_car.read_text()) | more
    described["engine_sha256"] = sha256((path.parent / described["engine"]).read_bytes())
    side_car.write_text(json.dumps(described))
    update_manifest(build, name, side_car.relative_to(build).as_posix())


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def other_weight(content):
    """So near that no tolerance would see it."""
    model = onnx.load_from_string(content)
    tensor = next(t for t in model.graph.initializer if t.name == "head.linear.bias")
    values = np.nextafter(numpy_helper.to_array(tensor), np.float32(1))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_an_engine_with_other_weights_fails_however_well_it_answers(
    build, update_manifest, monkeypatch, target
):
    forge(build, update_manifest, f"engines/{target}-f32/model.onnx", other_weight)
    kind, loaded = type(resolve(target)), []
    load_engine = kind.load

    def watched(self, folder, engine, options):
        loaded.append(folder.name)
        return load_engine(self, folder, engine, options)

    monkeypatch.setattr(kind, "load", watched)
    report = check(build, threads=1)
    assert f"{target}-f32" not in loaded
    engine = results(report)[target]
    assert report.verdict == engine.verdict == "fail"
    assert engine.status == "failed"
    assert f"engines/{target}-f32/model.onnx is not what model.onnx makes" in engine.reason
    assert "head.linear.bias" in engine.reason


def test_a_torch_engine_with_other_weights_fails(build, update_manifest):
    def negated(content):
        return save({name: np.negative(a, out=a.copy()) for name, a in load(content).items()})

    forge(build, update_manifest, "engines/torch-f32/weights.safetensors", negated)
    engine = results(check(build, threads=1))["torch"]
    assert (engine.status, engine.verdict) == ("failed", "fail")
    assert "weights.safetensors is not that of the build" in engine.reason


def test_sizes_that_another_onnx_infers_are_no_difference(build, update_manifest):
    def without(content):
        model = onnx.load_from_string(content)
        assert model.graph.value_info
        del model.graph.value_info[:]
        return model.SerializeToString()

    forge(build, update_manifest, "engines/onnx-f32/model.onnx", without)
    (build / "report.json").unlink()  # it is of the other one
    assert check(build, threads=1).verdict == "pass"


def test_an_engine_of_another_model_has_failed(build, update_manifest):
    """The manifest agrees with a damaged model; the engine still tells where it came from."""
    model = onnx.load(build / "model.onnx")
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    next(a for a in pool.attribute if a.name == "pads").ints[:] = [0, 0, 2, 2]
    onnx.save(model, build / "model.onnx")
    update_manifest(build, "model.onnx")
    report = check(build, threads=1)
    assert report.structure.verdict == "fail"
    for engine in report.targets:
        assert (engine.status, engine.verdict) == ("failed", "fail")
        assert "was built from another model.onnx" in engine.reason
