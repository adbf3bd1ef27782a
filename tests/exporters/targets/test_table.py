"""The table of targets."""

import subprocess
import sys

import pytest

from datac.errors import BadInput
from exporters.targets import TARGETS, resolve

WITHOUT_PLATFORMS = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import exporters.gpu, exporters.measure
from exporters.targets import resolve
for name in ("onnx", "openvino", "trt", "trt-rtx"):
    target = resolve(name)
    for missing in (target.missing(), target.missing_to_run()):
        assert "is not installed here" in missing.what or "does not load" in missing.what, missing
        assert missing.how.endswith(f"datac compile BUILD --target {name}"), missing
"""


def test_the_names_of_the_command_line():
    assert list(TARGETS) == ["torch", "onnx", "openvino", "trt", "trt-rtx"]


@pytest.mark.parametrize("name", ["onnx", "openvino", "trt", "trt-rtx"])
def test_a_target_knows_its_name(name):
    assert resolve(name).name == name


@pytest.mark.parametrize(
    ("given", "meant"), [("trtx", "trt"), ("openvin", "openvino"), ("trt_rtx", "trt-rtx")]
)
def test_an_unknown_target_suggests_the_nearest(given, meant):
    with pytest.raises(BadInput, match=f'unknown target "{given}"; did you mean "{meant}"'):
        resolve(given)


def test_every_target_loads_and_says_what_it_lacks_with_nothing_optional_installed():
    subprocess.run([sys.executable, "-c", WITHOUT_PLATFORMS], check=True, timeout=60)
