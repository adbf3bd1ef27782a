"""TensorRT played by ONNX Runtime, for tests where there is no GPU: its plan is the model."""

import sys
from types import ModuleType

import onnx

from exporters.targets import TARGETS
from exporters.targets.onnx import CpuRunner
from exporters.targets.specialise import write_model
from exporters.targets.target import Engine
from exporters.targets.tensorrt import TensorRT

VERSIONS = {"tensorrt": "11.4.0"}


class PlayedTensorRT(TensorRT):
    """What a test adds is `build`, and where it may refit, `refit`."""

    def missing(self):
        return None

    def written(self, content, folder, *, options=None, profile=None):
        """The engine whose plan is that model."""
        write_model(content, folder / "engine.plan")
        return Engine("engine.plan", VERSIONS, "cuda (played)", options or {}, profile)

    def load(self, folder, engine, options):
        onnx.checker.check_model(onnx.load(folder / engine.file, format="protobuf"))
        return CpuRunner(folder / engine.file, 1)


def play(monkeypatch, played):
    """The target `trt` is `played`, a kind of `PlayedTensorRT`, until the test ends."""
    module = ModuleType("the_played")
    module.Played = played
    monkeypatch.setitem(sys.modules, "the_played", module)
    monkeypatch.setitem(TARGETS, "trt", "the_played:Played")
