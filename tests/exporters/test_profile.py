"""A runtime's own profile laid over the genotype: nothing lost, nothing divided."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from datac.cli import run
from datac.documents.layer_profile import KernelTime, LayerProfile
from datac.errors import BadInput, PlatformMissing
from datac.published import load
from datac.report.layer_rows import layer_rows
from exporters.profile import profile
from exporters.quantisation import Calibration
from exporters.targets.kernels import covered
from exporters.targets.onnx_profile import _ends

LEVELS = ("kernel", "path", "node", "cell", "genotype")


@pytest.fixture(scope="module", params=["onnx-f32", "openvino-f32"])
def profiled(request, compiled):
    folder = compiled[0]
    found = profile(folder, engine=request.param, calls=3, seconds=0.2, threads=1)
    return folder, found


def working_paths(folder):
    """Those of the build that hold a convolution or a pool."""
    found = {
        node.name.rpartition("/")[0]
        for node in onnx.load(folder / "model.onnx").graph.node
        if node.op_type in ("Conv", "MaxPool", "AveragePool") and "/path" in node.name
    }
    assert found
    return found


def test_every_path_with_work_to_do_is_in_some_kernel(profiled):
    folder, found = profiled
    seen = {origin for kernel in found.kernels for origin in kernel.origins}
    assert working_paths(folder) <= seen
    assert all(kernel.low_ms <= kernel.median_ms <= kernel.high_ms for kernel in found.kernels)
    assert found.calls == 3
    assert LayerProfile.model_validate_json(found.to_json()) == found


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_loses_time_or_counts_it_twice(profiled, level):
    _, found = profiled
    rows = layer_rows(found, level)
    whole = sum(kernel.median_ms for kernel in found.kernels)
    assert sum(row.median_ms for row in rows) == pytest.approx(whole)
    assert sum(row.kernels for row in rows) == len(found.kernels)
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert len({row.parts for row in rows}) == len(rows)


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_below_float32_nothing_but_layout_and_type_is_the_runtimes_own(
    precision, compile_tiny, tmp_path
):
    """ONNX Runtime has no f16 kernels on a CPU: it casts, and gives what is between other names."""
    images = tuple(np.random.default_rng(0).standard_normal((4, 1, 3, 16, 16), np.float32))
    calibration = Calibration(images, "min-max")
    compile_tiny("onnx", precisions=(precision,), calibration=calibration, max_drop=1.0)
    found = profile(tmp_path / "build", engine=f"onnx-{precision}", calls=2, seconds=0, threads=1)
    own = {kernel.kind for kernel in found.kernels if not kernel.origins}
    assert own <= {"ReorderInput", "ReorderOutput", "Transpose", "Cast", "QuantizeLinear"}
    seen = {origin for kernel in found.kernels for origin in kernel.origins}
    assert working_paths(tmp_path / "build") <= seen


def test_a_group_is_named_by_all_its_parts_and_what_is_nobodys_comes_last():
    def kernel(name, origins, milliseconds):
        times = {"median_ms": milliseconds, "low_ms": milliseconds, "high_ms": milliseconds}
        return KernelTime(name=name, kind="Conv", origins=origins, **times)

    found = LayerProfile.model_construct(
        cell_kinds=("normal",) * 11,
        kernels=(
            kernel("a", ("cell2/node2/path0/sep_conv_3x3",), 2.0),
            kernel("b", ("cell10/node2/path0/sep_conv_3x3",), 2.0),
            kernel("c", ("cell10/node2", "cell2/node2/path1/skip_connect"), 1.0),
            kernel("d", (), 5.0),
            kernel("e", ("stem",), 0.5),
        ),
    )
    titles = {row.title: row.median_ms for row in layer_rows(found, "path")}
    assert titles["cell2/node2/path1/skip_connect + cell10/node2"] == 1.0
    assert [row.title for row in layer_rows(found, "cell")] == [
        "cell2",
        "cell10",
        "cell2 + cell10",
        "stem",
        "the runtime's own (changes of layout and type)",
    ]
    assert layer_rows(found, "genotype")[0].parts == ("normal/node2/path0/sep_conv_3x3",)
    assert layer_rows(found, "genotype")[0].median_ms == 4.0


def graph_of(*nodes):
    body = helper.make_graph(
        [
            helper.make_node(kind, inputs, [name], name, **more)
            for name, kind, inputs, more in nodes
        ],
        "g",
        [],
        [],
    )
    return helper.make_model(body)


def test_a_kernel_covers_what_lies_between_its_value_and_those_of_others():
    model = graph_of(
        ("relu", "Relu", ["x"], {}),
        ("conv", "Conv", ["relu", "w"], {}),
        ("skip", "Identity", ["x"], {}),
        ("sum", "Add", ["conv", "skip"], {}),
        ("pool", "MaxPool", ["relu"], {}),
    )
    found = covered(model, {"one": "sum", "two": "pool"})
    assert found == {"one": {"relu", "conv", "skip", "sum"}, "two": {"relu", "pool"}}
    apart = covered(model, {"one": "sum", "two": "pool", "three": "relu"})
    assert apart["two"] == {"pool"}
    assert apart["one"] == {"conv", "skip", "sum"}


def test_a_blocked_convolution_ends_in_the_addition_and_the_relu_that_it_took_in():
    model = graph_of(
        ("conv", "Conv", ["x", "w"], {}),
        ("sum", "Add", ["conv", "y"], {}),
        ("relu", "Relu", ["sum"], {}),
        ("alone", "Conv", ["relu", "w"], {}),
    )
    fused = graph_of(
        ("conv_nchwc", "Conv", ["x", "w", "b", "y"], {"activation": "Relu"}),
        ("alone_nchwc_3", "Conv", ["t", "w"], {}),
        ("ReorderOutput_token_4", "ReorderOutput", ["t"], {}),
    )
    assert _ends(model, fused) == {"conv_nchwc": "relu", "alone_nchwc_3": "alone"}


def test_a_rewritten_merged_kernel_names_all_its_paths(compile_tiny, tmp_path):
    compile_tiny("onnx", rewrites=("share_relu", "merge_pointwise"))
    found = profile(tmp_path / "build", calls=2, seconds=0.1, threads=1)
    groups = [kernel.origins for kernel in found.kernels if "merged" in kernel.name]
    assert groups
    assert any(len([o for o in origins if "preprocess" in o]) > 1 for origins in groups)


def test_the_command_prints_a_table_and_writes_the_document(build, tmp_path, capsys):
    out = tmp_path / "profile.json"
    words = ["profile", str(build), "--engine", "onnx-f32", "--by", "cell", "--calls", "2"]
    assert run([*words, "--threads", "1", "--json", str(out)]) == 0
    assert "cell0" in capsys.readouterr().out
    assert json.loads(out.read_text())["schema"] == "datac.layer_profile/1"


def test_a_file_that_cannot_be_written_is_refused_before_the_work(build, tmp_path, capsys):
    (tmp_path / "genotype.json").write_text(load("data-m4").to_json())
    for name, said in (
        ("absent/x.json", "absent is no folder; x.json cannot be written"),
        (".", "is a folder, where a file will be written"),
        ("genotype.json", "it is not replaced, name another file to write"),
    ):
        assert run(["profile", str(build), "--json", str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.out == ""


def test_what_cannot_be_profiled_is_said(build, compile_tiny, tmp_path, capsys):
    with pytest.raises(BadInput, match="this build has"):
        profile(build, engine="trt-f16")
    with pytest.raises(PlatformMissing, match="torch-f32 cannot be profiled here"):
        profile(build, engine="torch-f32")
