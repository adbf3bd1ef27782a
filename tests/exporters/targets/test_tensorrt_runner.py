"""The order of TensorRT's calls, on a driver and a TensorRT that are played: y = 2 x."""

import ctypes
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from datac.errors import BadInput
from exporters.targets.target import TargetFailed
from exporters.targets.tensorrt_runner import TensorRTRunner

INPUT, OUTPUT = 0, 1


class Context:
    def __init__(self, driver, largest_batch):
        self.driver, self.largest_batch = driver, largest_batch
        self.shape, self.addresses, self.profiler = None, {}, None

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return shape[0] <= self.largest_batch

    def get_tensor_shape(self, name):
        return self.shape

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert stream == 7
        kind = ctypes.c_float * int(np.prod(self.shape))
        source = kind.from_address(self.addresses["input"])
        target = kind.from_address(self.addresses["logits"])
        target[:] = [2 * value for value in source]
        self.driver.clock_ms += 5
        if self.profiler is not None:
            self.profiler.report_layer_time("stem/conv + stem/relu0", 3.0)
            self.profiler.report_layer_time("head/conv", 2.0)
        return True


class Engine:
    num_io_tensors = 2

    def __init__(self, context):
        self.context = context

    def get_tensor_name(self, number):
        return ("input", "logits")[number]

    def get_tensor_mode(self, name):
        return INPUT if name == "input" else OUTPUT

    def get_tensor_shape(self, name):
        return (-1, 3, -1, -1)

    def get_tensor_dtype(self, name):
        return "float"

    def create_execution_context(self):
        return self.context

    def create_engine_inspector(self):
        layers = [{"Name": "stem/conv + stem/relu0"}, {"Name": "head/conv"}]
        return SimpleNamespace(get_engine_information=lambda format: f"{format}: {layers}")


class Log:
    class Severity:
        ERROR = 1


@pytest.fixture
def trt(driver):
    class Runtime:
        def __init__(self, log):
            self.log = log

        def deserialize_cuda_engine(self, plan):
            if plan == b"plan":
                return Engine(Context(driver, largest_batch=2))
            self.log.log(1, "version mismatch,\n built by 10.0")
            return None

    module = ModuleType("tensorrt")
    module.__dict__.update(
        Runtime=Runtime,
        ILogger=Log,
        TensorIOMode=SimpleNamespace(INPUT=INPUT, OUTPUT=OUTPUT),
        IProfiler=object,
        LayerInformationFormat=SimpleNamespace(JSON="json"),
        nptype=lambda kind: np.float32,
        __version__="11.4.0",
    )
    return module


@pytest.fixture
def plan(folder):
    path = folder / "engine.plan"
    path.write_bytes(b"plan")
    return path


def test_it_answers_at_every_size_of_the_profile(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        assert runner.device == "cuda (Played GPU)"
        for shape in ((1, 3, 4, 4), (2, 3, 5, 7), (1, 3, 2, 2)):
            inputs = image(shape)
            np.testing.assert_array_equal(runner.run({"input": inputs})["logits"], 2 * inputs)


def test_an_input_that_is_not_one_block_is_read_right(trt, plan, image):
    inputs = image((1, 4, 5, 3)).transpose(0, 3, 1, 2)
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        np.testing.assert_array_equal(runner.run({"input": inputs})["logits"], 2 * inputs)


def test_compute_and_transfers_are_timed_apart(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        assert runner.time_call({"input": image((1, 3, 4, 4))}) == (5.0, 2.0)


def test_layers_are_timed_call_by_call_behind_a_warm_one(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        information, times = runner.time_layers({"input": image((1, 3, 4, 4))}, 3)
    assert information.startswith("json: ")
    assert times == {"stem/conv + stem/relu0": [3.0] * 3, "head/conv": [2.0] * 3}


def test_leaving_frees_everything(trt, plan, image, driver):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        runner.run({"input": image((1, 3, 4, 4))})
        assert driver.memory
    assert driver.memory == {}
    assert driver.open == 0


def test_a_size_outside_the_profile_is_refused(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        with pytest.raises(TargetFailed, match="built for other sizes than input 3x3x4x4"):
            runner.run({"input": image((3, 3, 4, 4))})
        with pytest.raises(BadInput, match=r"of size \?x3x\?x\? and was given 1x4x4x4"):
            runner.run({"input": image((1, 4, 4, 4))})


def test_a_plan_that_does_not_load_says_why_and_where(trt, plan, driver):
    plan.write_bytes(b"of another version")
    sentence = (
        r"TensorRT 11\.4\.0 cannot load engine\.plan on this GPU \(Played GPU, compute "
        r"capability 8\.6\): version mismatch, built by 10\.0"
    )
    with pytest.raises(TargetFailed, match=sentence):
        TensorRTRunner(trt, "TensorRT", plan)
    assert driver.open == 0
