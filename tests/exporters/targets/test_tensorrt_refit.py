"""New weights in a TensorRT plan, with a TensorRT that is played: a plan is JSON of weights."""

import json
from types import SimpleNamespace

import onnx
import pytest
from onnx import numpy_helper

from exporters.targets import tensorrt
from exporters.targets.target import BuildOptions, TargetFailed
from exporters.targets.tensorrt import TensorRT

OPTIONS = BuildOptions((1, 3, 4, 4))
VERSIONS = {"tensorrt": "11.4.0"}


def weights_of(content):
    tensors = onnx.load_model_from_string(content).graph.initializer
    return {t.name: numpy_helper.to_array(t).ravel()[:2].tolist() for t in tensors}


class Engine:
    def __init__(self, weights):
        self.weights, self.given, self.flags = weights, {}, {"EXCLUDE_WEIGHTS"}

    def create_serialization_config(self):
        return SimpleNamespace(clear_flag=self.flags.remove, set_flag=self.flags.add)

    def serialize_with_config(self, config):
        assert self.flags == {"INCLUDE_REFIT"}
        return json.dumps(self.weights).encode()


class Refitter:
    willing = True

    def __init__(self, engine, log):
        self.engine = engine

    def get_missing_weights(self):
        return sorted(self.engine.weights.keys() - self.engine.given.keys())

    def refit_cuda_engine(self):
        self.engine.weights = self.engine.given
        return self.willing


class ParserRefitter:
    num_errors = 1

    def __init__(self, refitter, log):
        self.engine = refitter.engine

    def get_error(self, number):
        return SimpleNamespace(
            desc=lambda: "has another\n shape.",
            node_name=lambda: "stem",
            node_operator=lambda: "Conv",
        )

    def refit_from_bytes(self, content):
        given = weights_of(content)
        self.engine.given = {name: given[name] for name in given if name in self.engine.weights}
        return bool(self.engine.given)


@pytest.fixture
def here(trt, driver, monkeypatch):
    """The played module, as `import tensorrt` finds it."""

    class Runtime(trt.Runtime):
        def deserialize_cuda_engine(self, plan):
            return Engine(json.loads(plan)) if plan.startswith(b"{") else None

    trt.Runtime, trt.Refitter, trt.OnnxParserRefitter = Runtime, Refitter, ParserRefitter
    names = ("EXCLUDE_WEIGHTS", "INCLUDE_REFIT")
    trt.SerializationFlag = SimpleNamespace(**{name: name for name in names})
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)
    monkeypatch.setattr(tensorrt, "import_module", lambda name: trt)
    monkeypatch.setattr(TensorRT, "missing", lambda self: None)
    return trt


@pytest.fixture
def earlier(tmp_path, model):
    """A plan with the names of the model's weights, and other values."""
    path = tmp_path / "earlier.plan"
    path.write_text(json.dumps({name: [0.0, 0.0] for name in weights_of(model.read_bytes())}))
    return path


def test_the_plan_gets_the_models_weights_and_can_get_others(here, earlier, model, folder, driver):
    engine = TensorRT().refit(earlier, VERSIONS, model, OPTIONS, folder)
    assert json.loads((folder / engine.file).read_text()) == weights_of(model.read_bytes())
    assert engine.options["refittable"] is True
    assert driver.open == 0


def test_what_it_refuses_is_one_sentence(here, earlier, model, folder, monkeypatch, driver):
    def refit(**versions):
        TensorRT().refit(earlier, versions or VERSIONS, model, OPTIONS, folder)

    with pytest.raises(TargetFailed, match=r"was built with TensorRT 10.0, and here is 11\.4"):
        refit(tensorrt="10.0")
    whole = json.loads(earlier.read_text())
    earlier.write_text(json.dumps(whole | {"gone.weight": [1.0, 1.0]}))
    with pytest.raises(TargetFailed, match=r"wants 1 more weights for .*, gone\.weight among"):
        refit()
    earlier.write_text('{"other.weight": [1.0, 1.0]}')
    with pytest.raises(
        TargetFailed, match=r"refused the new weights .*: node stem .* another shape"
    ):
        refit()
    earlier.write_text(json.dumps(whole))
    monkeypatch.setattr(Refitter, "willing", False)
    with pytest.raises(TargetFailed, match=r"could not refit earlier\.plan: it gave no reason"):
        refit()
    earlier.write_text("of another GPU")
    with pytest.raises(TargetFailed, match=r"cannot load earlier\.plan: it gave no reason"):
        refit()
    assert list(folder.iterdir()) == []
    assert driver.open == 0
