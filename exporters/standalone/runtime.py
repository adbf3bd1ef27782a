"""Run an engine of this build: image in, class map or class out.

    python runtime.py engines/onnx-f32 street.png mask.png
    python runtime.py engines/openvino-bf16 photo.jpg

Needs numpy, pillow and the package of the engine (onnxruntime, openvino, tensorrt or tensorrt_rtx);
neither torch nor datac. `engine.json` beside it says how an image is prepared and what the classes
are. Exit codes: 2, what was given is wrong; 3, something is missing here; 1, the engine broke.
From a program: `Engine(folder)(image)`, image (H, W, 3) uint8 RGB, answers with the logits, or with
class numbers where the engine was compiled with --embed argmax; or raises CannotRun.
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

BROKE, BAD_INPUT, MISSING = 1, 2, 3

try:
    import numpy as np
    from PIL import Image
except ImportError as error:
    if __name__ != "__main__":
        raise
    print(f"this needs numpy and pillow ({error}); pip install numpy pillow", file=sys.stderr)
    sys.exit(MISSING)

Array = np.ndarray[Any, Any]
Run = Callable[[Array], Array]


class CannotRun(RuntimeError):
    """One sentence, and the exit code that it is from a command line."""

    def __init__(self, sentence: str, code: int = BAD_INPUT) -> None:
        super().__init__(sentence)
        self.code = code


class Engine:
    """A loaded engine. Call it with (H, W, 3) uint8 RGB.

    Answers with logits (classes,) or (classes, H', W'); with class numbers () or (H', W').
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        folder = Path(folder)
        self.about = read_about(folder)
        path = folder / self.about["engine"]
        # Before anything is loaded: an engine is code.
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if digest != self.about["engine_sha256"]:
            sentence = f"{path} is not the engine that engine.json describes"
            raise CannotRun(f"{sentence}; compile it again")
        # What is unknown is absent, so `get` asks.
        how = self.about["network"].get("preprocessing")
        if how is None:
            raise CannotRun("the build says nothing of its preprocessing; compile it with --data")
        self.preprocessing = how
        self.embedded = self.about.get("embedded", [])
        self._run = load(path, self.about, threads)

    def __call__(self, image: Array) -> Array:
        prepared = self.prepare(image)[None]
        try:
            answer: Array = self._run(prepared)[0]
        except CannotRun:
            raise
        except Exception as error:  # those of the packages share no narrower class
            sentence = f"the engine broke on {'x'.join(map(str, prepared.shape))}"
            raise CannotRun(f"{sentence} ({one_line(error)}); compile it again", BROKE) from error
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


NEEDED = ("engine", "engine_sha256", "target", "network", "versions")


def read_about(folder: Path) -> dict[str, Any]:
    """What `engine.json` says."""
    path = folder / "engine.json"
    if not path.is_file():
        patterns = ("engine.json", "*/engine.json", "engines/*/engine.json")
        near = [e for place in (folder, folder.parent) for p in patterns for e in place.glob(p)]
        engines = sorted({str(file.parent) for file in near})
        way = " or ".join(engines) or "a folder such as build/engines/onnx-f32"
        raise CannotRun(f"{folder} is not the folder of an engine: no engine.json; give {way}")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotRun(f"{path} cannot be read ({error}); compile the engine again") from error
    if not isinstance(about, dict) or about.get("schema") != "datac.engine/1":
        raise CannotRun(f"{path} is not as this file knows it; use the runtime.py of its own build")
    lacking = [key for key in NEEDED if not about.get(key)]
    if lacking:
        raise CannotRun(f"{path} says nothing of its {lacking[0]}; compile the engine again")
    return about


def load(path: Path, about: dict[str, Any], threads: int | None) -> Run:
    """A function (N, C, H, W) → logits, or what the engine takes and gives instead."""
    target = about["target"]
    if target not in RUNNERS:
        raise CannotRun(f"this file runs engines of {', '.join(RUNNERS)}; {target} is run by datac")
    package, version = next(iter(about["versions"].items()))
    try:
        return RUNNERS[target](path, about, threads)
    except CannotRun:
        raise
    except ImportError as error:
        sentence = f"{path} needs {package}, which does not load here ({error})"
        raise CannotRun(f"{sentence}; pip install {package}", MISSING) from error
    except Exception as error:  # those of the packages share no narrower class
        sentence = f"{package} refuses {path} ({one_line(error)})"
        raise CannotRun(f"{sentence}; it was made with {package} {version}", BROKE) from error


def names(about: dict[str, Any]) -> tuple[str, str]:
    """What the engine calls its input and its output."""
    parts = about.get("embedded", [])
    return (
        "image" if "preprocess" in parts else "input",
        "classes" if "argmax" in parts else "logits",
    )


def onnx_runtime(path: Path, about: dict[str, Any], threads: int | None) -> Run:
    """A function (N, C, H, W) → logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    provider = "CUDAExecutionProvider" if about["device"] == "cuda" else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    if session.get_providers()[0] != provider:
        raise CannotRun(
            f"ONNX Runtime fell back from {provider} to {session.get_providers()[0]}; the package "
            "onnxruntime-gpu and the CUDA that it asks for bring it",
            MISSING,
        )
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
        raise CannotRun(
            f"OpenVINO computes in {used} here, not in {settings['INFERENCE_PRECISION_HINT']}; "
            "run another engine of the build, or this one on another processor",
            MISSING,
        )
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
        sentence = f"{path} is of another GPU or TensorRT than those here"
        raise CannotRun(f"{sentence}; compile it again", MISSING)
    context = engine.create_execution_context()
    if context is None:
        raise CannotRun(f"TensorRT has no room for what {path} needs to run; free some", BROKE)
    read, write = names(about)
    kinds = {name: trt.nptype(engine.get_tensor_dtype(name)) for name in (read, write)}

    def run(x: Array) -> Array:
        gpu.use()
        x = np.ascontiguousarray(x, kinds[read])
        if not context.set_input_shape(read, x.shape):
            raise CannotRun(f"{path} was built for other sizes than {'x'.join(map(str, x.shape))}")
        answer: Array = np.empty(tuple(context.get_tensor_shape(write)), kinds[write])
        for name, array in ((read, x), (write, answer)):
            context.set_tensor_address(name, gpu.memory(name, array.nbytes))
        gpu.upload(read, x)
        if not context.execute_async_v3(0):
            raise CannotRun(f"TensorRT did not run {path}", BROKE)
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
        except OSError as error:
            sentence = "this engine runs on an NVIDIA GPU, and here is no NVIDIA driver"
            raise CannotRun(sentence, MISSING) from error
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
            raise CannotRun(f"the NVIDIA driver answers {name} with error {status}", BROKE)


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


MASKS = (".png", ".bmp", ".tif", ".tiff")
"""What keeps class numbers as they are."""


def check_mask(path: Path) -> None:
    """Before an engine has run in vain."""
    if path.is_dir():
        raise CannotRun(f"{path} is a folder; name a file in it, such as {path / 'mask.png'}")
    if path.suffix.lower() not in MASKS:
        raise CannotRun(f"{path}: a mask is one of {', '.join(MASKS)}; end its name so")
    if not path.parent.is_dir():
        raise CannotRun(f"there is no folder {path.parent} to write {path.name} to; make it first")


def save_mask(classes: Array, about: dict[str, Any], size: tuple[int, int], path: Path) -> None:
    """(H, W) class numbers → a palette image of the size (height, width): index = class."""
    mask = Image.fromarray(classes.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
    mask.putpalette(colors(about).tobytes())
    try:
        mask.save(path)
    except OSError as error:
        raise CannotRun(f"{path} cannot be written ({error}); choose another place") from error


def read_image(path: str) -> Array:
    """(H, W, 3) uint8 RGB."""
    try:
        with Image.open(path) as image:
            deep = image.mode == "F" or image.mode.startswith("I")
            pixels = np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise CannotRun(f"there is no image {path}; give the path of one") from error
    except Exception as error:  # of a damaged file Pillow raises many kinds
        sentence = f"{path} cannot be read as an image ({one_line(error)}); give another"
        raise CannotRun(sentence) from error
    if deep:
        raise CannotRun(f"{path} has more than 8 bits a channel; convert it to 8 bits")
    return pixels


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def run(folder: str, photo: str, mask: str | None = None) -> None:
    if mask is not None:
        check_mask(Path(mask))
    image = read_image(photo)
    engine = Engine(folder)
    answer = engine.decide(image)
    info = engine.about["network"].get("class_info")
    titles = info["names"] if info else [str(i) for i in range(engine.about["network"]["classes"])]
    if answer.ndim == 0:
        if mask is not None:
            raise CannotRun(f"{folder} answers with one class and makes no mask; leave {mask} out")
        print(titles[int(answer)])
        return
    if mask is not None:
        save_mask(answer, engine.about, image.shape[:2], Path(mask))
    for index, count in enumerate(np.bincount(answer.ravel(), minlength=len(titles))):
        print(f"{titles[index]}: {count / answer.size:.1%}")


def main() -> None:
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        print(__doc__)
        return
    try:
        if len(words) not in (2, 3):
            raise CannotRun("give an engine's folder, an image and maybe a mask; --help says more")
        run(*words)
    except CannotRun as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
