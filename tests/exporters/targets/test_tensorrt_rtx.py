"""TensorRT-RTX really parses and builds, with no GPU. Nothing here runs an engine."""

import onnx
import pytest
from onnx import TensorProto, helper

from datac.documents.profile import Profile, half_to_twice
from datac.errors import BadInput, PlatformMissing
from exporters.targets import resolve
from exporters.targets.target import BuildOptions, TargetFailed

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
TARGET = resolve("trt-rtx")


@pytest.mark.parametrize(
    ("shape", "dynamic"),
    [
        ((1, 3, 32, 32), False),
        ((3, 3, 33, 47), False),
        ((1, 3, 33, 47), True),
        ((1, 3, 1, 1), True),
    ],
)
def test_it_builds_fixed_and_open_even_and_odd(model, folder, shape, dynamic):
    engine = TARGET.build(model, BuildOptions(shape, dynamic_height_width=dynamic), folder)
    assert [path.name for path in folder.iterdir()] == ["engine.plan"] == [engine.file]
    assert (folder / "engine.plan").stat().st_size > 10_000
    assert engine.versions == {"tensorrt_rtx": trt.__version__}
    assert engine.options == {"dynamic": dynamic, "tf32": False}
    assert engine.profile == (half_to_twice(shape) if dynamic else None)


def test_it_builds_for_the_sizes_that_were_declared(model, folder):
    profile = Profile(min=(1, 3, 5, 7), opt=(1, 3, 33, 47), max=(4, 3, 64, 64))
    options = BuildOptions((1, 3, 33, 47), dynamic_height_width=True, profile=profile)
    assert TARGET.build(model, options, folder).profile == profile


def test_progress_rises_to_its_end(model, folder):
    shares = []

    def progress(what, share):
        assert what == "TensorRT-RTX"
        shares.append(share)

    TARGET.build(model, BuildOptions((1, 3, 8, 8), progress=progress), folder)
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5 < shares[-1] <= 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_build_ends_with_the_interruption_and_no_file(model, folder, error):
    def stop(what, share):
        raise error

    with pytest.raises(error):
        TARGET.build(model, BuildOptions((1, 3, 8, 8), progress=stop), folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("capabilities", [("8.6",), ("8.9", "12.0")])
def test_compute_capabilities_can_be_chosen(model, folder, capabilities):
    options = BuildOptions((1, 3, 8, 8), compute_capabilities=capabilities)
    assert ", ".join(capabilities) in TARGET.build(model, options, folder).device


def test_an_unknown_compute_capability_is_refused_with_the_known_ones(model, folder):
    options = BuildOptions((1, 3, 8, 8), compute_capabilities=("9.0",))
    with pytest.raises(BadInput, match=r"knows no compute capability 9\.0; it knows .*8\.6"):
        TARGET.build(model, options, folder)


def test_an_unknown_operation_is_one_sentence_with_the_nodes_name(unknown_operation, folder):
    sentence = (
        "TensorRT-RTX refused unknown.onnx: node cell0/node2/path0/relu (Frobnicate): "
        "no such operation"
    )
    with pytest.raises(TargetFailed) as caught:
        TARGET.build(
            unknown_operation, BuildOptions((1, 3, 8, 8), dynamic_height_width=True), folder
        )
    assert str(caught.value) == sentence
    assert list(folder.iterdir()) == []


def test_a_refusal_leaves_no_message_for_the_next_build(unknown_operation, model, folder):
    open_sizes = BuildOptions((1, 3, 8, 8), dynamic_height_width=True)
    with pytest.raises(TargetFailed):
        TARGET.build(unknown_operation, open_sizes, folder)
    TARGET.build(model, open_sizes, folder)


def test_types_are_strong(tmp_path, folder):
    """A product of f32 and f16 is refused, not silently cast."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input"], ["half"], "cast", to=TensorProto.FLOAT16),
            helper.make_node("MatMul", ["input", "half"], ["y"], "product"),
        ],
        "mixed",
        [value("input", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [value("y", TensorProto.FLOAT, ["N", 3, "H", "W"])],
    )
    path = tmp_path / "mixed.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    with pytest.raises(TargetFailed, match="node product"):
        TARGET.build(path, BuildOptions((1, 3, 8, 8), dynamic_height_width=True), folder)


def test_without_a_driver_it_is_built_and_not_run(model, folder, no_driver):
    """Touching TensorRT's runtime without a driver would end this process."""
    options = BuildOptions((1, 3, 8, 8))
    engine = TARGET.build(model, options, folder)
    assert TARGET.missing() is None
    assert "cannot run here: no NVIDIA driver is installed" in str(TARGET.missing_to_run())
    with pytest.raises(PlatformMissing, match="no NVIDIA driver"):
        TARGET.load(folder, engine, options)
