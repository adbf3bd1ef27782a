"""The platforms that an engine can be built for, one file each.

A new target is one file and one line here; `docs/add-a-target.md` shows how.
"""

from difflib import get_close_matches
from importlib import import_module

from datac.errors import BadInput
from exporters.targets.target import Target

# Values are strings: a platform is imported when it is asked for, not when it is listed.
TARGETS: dict[str, str] = {
    "torch": "exporters.targets.torch:Torch",
    "onnx": "exporters.targets.onnx:OnnxRuntime",
    "openvino": "exporters.targets.openvino:OpenVINO",
    "trt": "exporters.targets.tensorrt:TensorRT",
    "trt-rtx": "exporters.targets.tensorrt_rtx:TensorRTRTX",
}


def resolve(name: str) -> Target:
    """The target that the command line calls `name`."""
    if name not in TARGETS:
        close = get_close_matches(name, TARGETS, n=1, cutoff=0.4)
        hint = f'did you mean "{close[0]}"? ' if close else ""
        raise BadInput(f'unknown target "{name}"; {hint}the targets are {", ".join(TARGETS)}')
    module, attribute = TARGETS[name].split(":")
    target: Target = getattr(import_module(module), attribute)()
    return target
