"""Run an engine of this build: image in, class map or class out.

    python runtime.py engines/onnx-f32 street.png mask.png
    python runtime.py engines/openvino-bf16 photo.jpg

Needs numpy, pillow and the package of the engine (onnxruntime, openvino, tensorrt or tensorrt_rtx);
neither torch nor datac. `engine.json` beside it says how an image is prepared and what the classes
are.
From a program: `Engine(folder)(image)`, image (H, W, 3) uint8 RGB, answers with the logits, or with
class numbers where the engine was compiled with --embed argmax.
"""

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
Run = Callable[[Array], Array]


class Engine:
    """A loaded engine. Call it with (H, W, 3) uint8 RGB.

    Answers with logits (classes,) or (classes, H', W'); with class numbers () or (H', W').
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        folder = Path(folder)
        self.about = json.loads((folder / "engine.json").read_text())
        path = folder / self.about["engine"]
        # Before anything is loaded: an engine is code.
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.about["engine_sha256"]:
            sys.exit(f"{path} is not the engine that engine.json describes; compile it again")
        # What is unknown is absent, so `get` asks.
        how = self.about["network"].get("preprocessing")
        if how is None:
            sys.exit("the build says nothing of its preprocessing; compile it with --data")
        self.preprocessing = how
        target = self.about["target"]
        if target not in RUNNERS:
            sys.exit(f"this file runs {' and '.join(RUNNERS)} engines; {target} is run by datac")
        self.embedded = self.about.get("embedded", [])
        self._run = RUNNERS[target](path, self.about, threads)

    def __call__(self, image: Array) -> Array:
        answer: Array = self._run(self.prepare(image)[None])[0]
        return answer

    def decide(self, image: Array) -> Array:
        """The number of the class of each pixel (H', W'), or of the image ()."""
        answer = self(image)
        return answer if "argmax" in self.embedded else answer.argmax(0)

    def prepare(self, image: Array) -> Array:
        """(H, W, 3) uint8 RGB → (3, H', W') float32: resize, colour order, mean and deviation.

        Where the engine does all but the first: (H', W', 3) uint8.
        """
        how, shape = self.preprocessing, self.about["input_shape"]
        open_size = isinstance(shape[2], str)
        size = how.get("resize") if open_size else shape[2:]
        if size is not None and list(image.shape[:2]) != list(size):
            resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
            image = np.asarray(resized)
        if "preprocess" in self.embedded:
            return image
        if how.get("color_order") == "BGR":
            image = image[:, :, ::-1]
        mean = np.array(how["mean"], np.float32)
        deviation = np.array(how["standard_deviation"], np.float32)
        scaled = (image.astype(np.float32) / np.float32(255) - mean) / deviation
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def names(about: dict[str, Any]) -> tuple[str, str]:
    """What the engine calls its input and its output."""
    parts = about.get("embedded", [])
    return (
        "image" if "preprocess" in parts else "input",
        "classes" if "argmax" in parts else "logits",
    )


def onnx_runtime(path: Path, about: dict[str, Any], threads: int | None) -> Run:
    """What takes (N, C, H, W) to logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    provider = "CUDAExecutionProvider" if about["device"] == "cuda" else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    if session.get_providers()[0] != provider:
        sys.exit(f"ONNX Runtime fell back from {provider} to {session.get_providers()[0]}")
    read, write = names(about)
    return lambda x: session.run([write], {read: x})[0]


def openvino(path: Path, about: dict[str, Any], threads: int | None) -> Run:
    """A function (N, C, H, W) → logits."""
    from openvino import Core

    settings = {
        "INFERENCE_PRECISION_HINT": about["options"]["INFERENCE_PRECISION_HINT"],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    core = Core()
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != settings["INFERENCE_PRECISION_HINT"]:
        sys.exit(f"OpenVINO computes in {used} here, not in {about['precision']}")
    request = compiled.create_infer_request()
    read, write = names(about)

    def run(x: Array) -> Array:
        request.infer({read: x})
        return np.array(request.get_tensor(write).data)

    return run


def tensorrt(path: Path, about: dict[str, Any], threads: int | None) -> Run:
    """A function (N, C, H, W) → logits, on the first GPU. Its author had none to run it on."""
    del threads
    gpu = Gpu()  # first: without a driver TensorRT's runtime ends the process
    trt = import_module({"trt": "tensorrt", "trt-rtx": "tensorrt_rtx"}[about["target"]])
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        sys.exit(f"{path} is of another GPU or TensorRT than those here; compile it again")
    context = engine.create_execution_context()
    if context is None:
        sys.exit(f"TensorRT has no room for what {path} needs to run")
    read, write = names(about)
    kinds = {name: trt.nptype(engine.get_tensor_dtype(name)) for name in (read, write)}

    def run(x: Array) -> Array:
        gpu.use()
        x = np.ascontiguousarray(x, kinds[read])
        if not context.set_input_shape(read, x.shape):
            sys.exit(f"{path} was built for other sizes than {'x'.join(map(str, x.shape))}")
        answer: Array = np.empty(tuple(context.get_tensor_shape(write)), kinds[write])
        for name, array in ((read, x), (write, answer)):
            context.set_tensor_address(name, gpu.memory(name, array.nbytes))
        gpu.upload(read, x)
        if not context.execute_async_v3(0):
            sys.exit(f"TensorRT did not run {path}")
        gpu.download(write, answer)
        return answer

    return run


class Gpu:
    """Device memory by name, and copies to and from it, by the C interface of NVIDIA's driver.

    All on the default stream: a copy back waits for what was started before.
    """

    def __init__(self) -> None:
        try:
            self._driver: Any = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        except OSError:
            sys.exit("this engine runs on an NVIDIA GPU, and here is no NVIDIA driver")
        self._memory: dict[str, tuple[ctypes.c_uint64, int]] = {}
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.use()

    def use(self) -> None:
        """In the thread that calls: a program may load an engine in one and ask it in another."""
        self._call("cuCtxSetCurrent", self._context)

    def memory(self, name: str, size: int) -> int:
        """The address of at least `size` bytes, kept under this name."""
        address, have = self._memory.get(name, (ctypes.c_uint64(), 0))
        if have < size:
            if have:
                self._call("cuMemFree_v2", address)
            self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
            self._memory[name] = (address, size)
        return address.value

    def upload(self, name: str, array: Array) -> None:
        """From the host."""
        source, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyHtoD_v2", self._memory[name][0], source, size)

    def download(self, name: str, array: Array) -> None:
        """Into an array, once what was started is done."""
        target, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoH_v2", target, self._memory[name][0], size)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            sys.exit(f"the NVIDIA driver answers {name} with error {status}")


RUNNERS = {"onnx": onnx_runtime, "openvino": openvino, "trt": tensorrt, "trt-rtx": tensorrt}


def colors(about: dict[str, Any]) -> Array:
    """(classes, 3): the classes' own, else those of Pascal VOC."""
    info = about["network"].get("class_info") or {}
    if info.get("colors"):
        return np.array(info["colors"], np.uint8)
    indices = np.arange(about["network"]["classes"])
    bits = [[(indices >> (3 * (7 - b) + c) & 1) << b for b in range(8)] for c in range(3)]
    table: Array = np.array(bits).sum(1).T.astype(np.uint8)
    return table


def save_mask(classes: Array, about: dict[str, Any], size: tuple[int, int], path: str) -> None:
    """(H, W) class numbers → a palette image of the size (height, width): index = class."""
    mask = Image.fromarray(classes.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
    mask.putpalette(colors(about).tobytes())
    mask.save(path)


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    engine = Engine(sys.argv[1])
    image = np.asarray(Image.open(sys.argv[2]).convert("RGB"))
    answer = engine.decide(image)
    info = engine.about["network"].get("class_info")
    titles = info["names"] if info else [str(i) for i in range(engine.about["network"]["classes"])]
    if answer.ndim == 0:
        print(titles[int(answer)])
        return
    for index, count in enumerate(np.bincount(answer.ravel(), minlength=len(titles))):
        print(f"{titles[index]}: {count / answer.size:.1%}")
    if len(sys.argv) == 4:
        save_mask(answer, engine.about, image.shape[:2], sys.argv[3])


if __name__ == "__main__":
    main()
