"""A small canonical ONNX (f32, opset 18, dynamic N, H, W), an NVIDIA driver and a TensorRT that are
played."""
# ruff: noqa: N802 - the driver's functions are called as NVIDIA calls them

import ctypes
import json
from threading import get_ident
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from exporters import gpu, nvidia_driver


def canonical_model(activation="Relu", domain=""):
    """Every form that the compiler emits: strides, groups, dilation, both pools, the Resize."""
    draw = np.random.default_rng(0)

    def weight(name, *shape):
        values = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    node = helper.make_node
    around = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["input", "stem.weight"], ["stem"], "stem", strides=[2, 2], pads=[1] * 4),
        node(activation, ["stem"], ["relu"], "cell0/node2/path0/relu", domain=domain),
        node(
            "Conv",
            ["relu", "depthwise.weight"],
            ["depthwise"],
            "cell0/node2/path0/dil_conv_3x3",
            group=8,
            dilations=[2, 2],
            pads=[2] * 4,
        ),
        node("AveragePool", ["relu"], ["mean"], "avg", count_include_pad=0, **around),
        node("MaxPool", ["relu"], ["max"], "max", **around),
        node("Add", ["mean", "max"], ["sum"], "sum"),
        node("Concat", ["sum", "depthwise"], ["cell"], "concat", axis=1),
        node("Conv", ["cell", "head.weight"], ["coarse"], "head"),
        node("Shape", ["coarse"], ["batch_classes"], "shape_of_coarse", start=0, end=2),
        node("Shape", ["input"], ["height_width"], "shape_of_input", start=2, end=4),
        node("Concat", ["batch_classes", "height_width"], ["sizes"], "sizes", axis=0),
        node(
            "Resize",
            ["coarse", "", "", "sizes"],
            ["resized"],
            "resize",
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        # The compiler names its outputs so; OpenVINO then knows the value by two names.
        node("Identity", ["resized"], ["logits"], "logits"),
    ]
    graph = helper.make_graph(
        nodes,
        "datac",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5, "H", "W"])],
        [
            weight("stem.weight", 8, 3, 3, 3),
            weight("depthwise.weight", 8, 1, 3, 3),
            weight("head.weight", 5, 16, 1, 1),
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(model, {"datac.genotype_hash": "0" * 64})
    return model


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(canonical_model(), path)
    return path


@pytest.fixture
def unknown_operation(tmp_path):
    path = tmp_path / "unknown.onnx"
    onnx.save(canonical_model("Frobnicate", "example.org"), path)
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "engines"
    path.mkdir()
    return path


@pytest.fixture
def image():
    """shape → an input of that shape."""
    draw = np.random.default_rng(1)
    return lambda shape: draw.standard_normal(shape).astype(np.float32)


@pytest.fixture
def float64_answer():
    """input → logits, computed in float64 by ONNX's own reference."""
    model = canonical_model()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    reference = ReferenceEvaluator(model)
    return lambda inputs: reference.run(None, {"input": inputs.astype(np.float64)})[0]


class PlayedDriver:
    """libcuda in Python: device memory is host memory, every copy happens at once.

    Events take the time from a clock that each copy and each kernel moves by a millisecond.
    """

    def __init__(self):
        self.memory = {}
        self.clock_ms = 0.0
        self.events = {}
        self.open = 0
        self.failing = {}
        self.current = set()

    def __getattr__(self, name):
        if name.startswith("cu"):
            return lambda *arguments: self.failing.get(name, 0)
        raise AttributeError(name)

    def cuDeviceGetCount(self, count):
        count._obj.value = 1
        return 0

    def cuDeviceGetName(self, text, size, device):
        text.value = b"Played GPU"
        return 0

    def cuDeviceGetAttribute(self, value, number, device):
        value._obj.value = {75: 8, 76: 6}[number.value]
        return 0

    def cuGetErrorString(self, status, text):
        text._obj.value = b"out of memory"
        return 0

    def cuDevicePrimaryCtxRetain(self, context, device):
        self.open += 1
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device):
        self.open -= 1
        return 0

    def cuCtxSetCurrent(self, context):
        self.current.add(get_ident())
        return 0

    def cuStreamCreate(self, stream, flags):
        stream._obj.value = 7
        return 0

    def cuMemAlloc_v2(self, address, size):
        if "cuMemAlloc_v2" in self.failing:
            return self.failing["cuMemAlloc_v2"]
        block = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(block)
        self.memory[address._obj.value] = block
        return 0

    def cuMemFree_v2(self, address):
        del self.memory[address.value]
        return 0

    def cuMemcpyHtoDAsync_v2(self, target, source, size, stream):
        assert len(self.memory[target.value]) >= size.value
        return self._copy(target, source, size, stream)

    def cuMemcpyDtoHAsync_v2(self, target, source, size, stream):
        assert len(self.memory[source.value]) >= size.value
        return self._copy(target, source, size, stream)

    def cuMemcpyHtoD_v2(self, target, source, size):
        return self.cuMemcpyHtoDAsync_v2(target, source, size, ctypes.c_void_p(7))

    def cuMemcpyDtoH_v2(self, target, source, size):
        return self.cuMemcpyDtoHAsync_v2(target, source, size, ctypes.c_void_p(7))

    def _copy(self, target, source, size, stream):
        assert stream.value == 7
        ctypes.memmove(target.value, source.value, size.value)
        self.clock_ms += 1
        return 0

    def cuEventCreate(self, event, flags):
        event._obj.value = 100 + len(self.events)
        self.events[event._obj.value] = 0.0
        return 0

    def cuEventRecord(self, event, stream):
        self.events[event.value] = self.clock_ms
        return 0

    def cuEventElapsedTime(self, elapsed, start, stop):
        elapsed._obj.value = self.events[stop.value] - self.events[start.value]
        return 0


@pytest.fixture
def driver(monkeypatch):
    """A played driver in the place of the machine's own."""
    played = PlayedDriver()
    for module in (nvidia_driver, gpu):
        monkeypatch.setattr(module, "library", lambda: played)
    nvidia_driver.why_no_gpu.cache_clear()
    yield played
    nvidia_driver.why_no_gpu.cache_clear()


@pytest.fixture
def no_driver(monkeypatch):
    """A machine without an NVIDIA driver."""
    monkeypatch.setattr(nvidia_driver, "library", lambda: None)
    nvidia_driver.why_no_gpu.cache_clear()
    yield
    nvidia_driver.why_no_gpu.cache_clear()


# ---- TensorRT --------------------------------------------------------------------------------

INPUT, OUTPUT = 0, 1


class PlayedContext:
    stream = 7

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
        assert stream == self.stream
        kind = ctypes.c_float * int(np.prod(self.shape))
        source = kind.from_address(self.addresses["input"])
        target = kind.from_address(self.addresses["logits"])
        target[:] = [2 * value for value in source]
        self.driver.clock_ms += 5
        if self.profiler is not None:
            self.profiler.report_layer_time("stem/conv + stem/relu0", 3.0)
            self.profiler.report_layer_time("head/conv", 2.0)
        return True


class PlayedEngine:
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
        fused = {"Name": "stem/conv + stem/relu0", "LayerType": "Convolution"}
        layers = json.dumps({"Layers": [fused, "head/conv"]})
        return SimpleNamespace(get_engine_information={"json": layers}.__getitem__)


class PlayedLog:
    class Severity:
        ERROR = 1


@pytest.fixture
def trt(driver):
    """TensorRT in Python, on the played driver: y = 2 x, for batches of up to 2."""

    class Runtime:
        def __init__(self, log):
            self.log = log

        def deserialize_cuda_engine(self, plan):
            if plan == b"plan":
                return PlayedEngine(PlayedContext(driver, largest_batch=2))
            self.log.log(1, "version mismatch,\n built by 10.0")
            return None

    module = ModuleType("tensorrt")
    module.__dict__.update(
        Context=PlayedContext,
        Runtime=Runtime,
        ILogger=PlayedLog,
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
