"""Engines in f16 and bf16: types in their ONNX, sums that leave the range in float32, the gate."""

import hashlib
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compiler.interpreter import Interpreter
from compiler.lower import lower
from compiler.ops import Conv
from compiler.places import boundaries
from compiler.text import parse_graph
from compiler.weights import read_weights_file
from datac.documents.build_folder import SideCar
from datac.documents.genotype import Genotype
from datac.documents.read import read_json
from exporters.canonical import bound_graph, canonical_graph
from exporters.check import check
from exporters.export import compile_build, compile_genotype
from exporters.initialise import initialise
from exporters.places import judge_places
from exporters.precision import Plan, deployed, own_model, plan_for, ranges, rewritten
from exporters.request import Request
from exporters.rounding import ARITHMETIC
from exporters.targets.specialise import specialise_model, write_model
from exporters.targets.target import BuildOptions


def by_name(report):
    return {f"{r.target}-{r.precision}": r for r in report.targets}


@pytest.fixture(scope="module")
def half(genotype, networks, tmp_path_factory):
    """A build in three precisions."""
    out = tmp_path_factory.mktemp("half") / "build"
    targets = ("onnx", "openvino", "torch")
    settings = {"precisions": ("f32", "f16", "bf16"), "threads": 1, "bench_seconds": 0.0}
    report = compile_genotype(
        genotype, networks.segmentation, None, Request(targets, out, **settings)
    )
    return out, report


def test_every_engine_is_judged_by_its_own_arithmetic(half):
    found = by_name(half[1])
    single, less = found["onnx-f32"], found["onnx-f16"]
    assert single.verdict == less.verdict == "pass"
    assert less.error.tolerance > 300 * single.error.tolerance
    assert less.error.rms > 100 * single.error.rms
    assert less.places.wrong == ()
    for name in ("openvino-f16", "openvino-bf16"):
        result = found[name]
        if result.status == "missing":
            assert "this processor has no instructions for it" in result.reason
        else:
            assert (result.verdict, result.places.wrong) == ("pass", ())


def test_what_a_target_cannot_do_is_missing_with_a_way_out(half):
    found = by_name(half[1])
    assert found["onnx-bf16"].status == found["torch-f16"].status == "missing"
    assert found["onnx-bf16"].reason == (
        "ONNX Runtime has no bf16 engines: its convolutions do not take bfloat16; choose "
        "--precision f32 or f16 or int8"
    )


def test_the_types_stand_in_the_engines_own_model(half):
    model = onnx.load(half[0] / "engines" / "onnx-f16" / "model.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    canonical = onnx.load(half[0] / "model.onnx")
    assert {t.data_type for t in canonical.graph.initializer} <= {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT64,
    }


def test_a_build_gets_another_precision_without_its_genotype(half, tmp_path):
    request = Request(
        ("onnx",), tmp_path / "more", precisions=("f16",), threads=1, bench_seconds=0.0
    )
    report = compile_build(half[0], request)
    assert by_name(report).keys() >= {"onnx-f16", "onnx-f32", "torch-f32"}
    assert report.verdict == "pass"
    assert check(tmp_path / "more", threads=1).verdict == "pass"


def test_a_damaged_weight_in_half_precision_is_found_in_its_file(half, tmp_path, update_manifest):
    build = shutil.copytree(half[0], tmp_path / "build")
    name = "engines/onnx-f16/model.onnx"
    model = onnx.load(build / name)
    tensor = next(
        t for t in model.graph.initializer if "cell1.node2" in t.name and len(t.dims) == 4
    )
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] += np.float16(0.25)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, build / name)
    car = build / "engines" / "onnx-f16" / "engine.json"
    side_car = read_json(car, SideCar)
    digest = hashlib.sha256((build / name).read_bytes()).hexdigest()
    car.write_text(side_car.model_copy(update={"engine_sha256": digest}).to_json())
    update_manifest(build, name, "engines/onnx-f16/engine.json")
    found = by_name(check(build, threads=1))
    assert found["onnx-f16"].verdict == "fail"
    assert "engines/onnx-f16/model.onnx is not what" in found["onnx-f16"].reason
    assert "cell1/node2" in found["onnx-f16"].reason


# ---- the range ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def far(genotype, networks):
    """A canonical graph of which a path in cell 1 reaches 1e5, and an input."""
    network = networks.classification
    graph = lower(genotype, network)
    initialise(graph, network.input, 0)
    x = np.random.default_rng(0).standard_normal((2, *network.input)).astype(np.float32)
    canonical = canonical_graph(graph)
    last = next(
        canonical[name]
        for name in boundaries(canonical)
        if name.startswith("cell1/node3/path0") and isinstance(canonical[name].op, Conv)
    )
    factor = np.float32(1e5 / ranges(canonical, [x])[last.name])
    for name in last.weight_specs():
        canonical.weights[name] = canonical.weights[name] * factor
    return canonical, x


def test_what_leaves_the_range_stays_float32_and_is_named(far, genotype, networks):
    graph, x = far
    reach = ranges(graph, [x])
    assert max(reach.values()) > 65504 / 2
    plan = plan_for(graph, "f16", [x])
    assert plan.float32
    beyond = {name for name, size in reach.items() if size > 65504 / 2}
    assert beyond <= {*plan.float32}
    for name in beyond:
        assert {*graph.users(name)} <= {*plan.float32}
    half = deployed(graph, plan)
    types = {node.name: node.type.dtype for node in half.nodes()}
    assert {types[name] for name in plan.float32} == {"float32"}
    assert "float16" in types.values()
    onnx.checker.check_model(own_model(graph, plan, genotype, networks.classification))


def test_within_the_range_nothing_is_kept(genotype, networks):
    network = networks.classification
    graph = lower(genotype, network)
    initialise(graph, network.input, 0)
    x = np.random.default_rng(0).standard_normal((1, *network.input)).astype(np.float32)
    assert plan_for(canonical_graph(graph), "f16", [x]) == Plan("f16")
    assert plan_for(canonical_graph(graph), "bf16", [x]) == Plan("bf16")


def test_what_stays_float32_is_judged_by_float32s_rounding(far):
    """Three parts in ten thousand: nothing in float16, a thousand times too much in float32."""
    graph, x = far
    place = "cell0/preprocess0"
    kept = tuple(node.name for node in graph.nodes() if node.name.startswith(place))
    value = next(name for name in boundaries(graph) if name.startswith(place))
    ratios = {}
    for keep in ((), kept):
        half = deployed(graph, Plan("f16", keep))
        seen = {"input": x} | Interpreter(half).run({"input": x}, wanted=boundaries(half))
        off = seen | {value: seen[value] * (1 + 3e-4)}
        errors = {e.value: e.ratio for e in judge_places(half, off, ARITHMETIC["f16"])}
        ratios[keep] = errors[value]
    assert ratios[()] < 1.5
    assert ratios[kept] > 100


def test_an_engine_that_keeps_other_nodes_is_not_the_builds(
    half, tmp_path, update_manifest, genotype, networks
):
    """Rewritten with its side-car, so that every digest agrees and it is what its plan makes."""
    build = shutil.copytree(half[0], tmp_path / "build")
    name, car = "engines/onnx-f16/model.onnx", build / "engines/onnx-f16/engine.json"
    weights = read_weights_file(build / "weights.safetensors")
    graph = canonical_graph(bound_graph(genotype, networks.segmentation, weights, "w"))
    plan = Plan("f16", ("cell0/node2/sum",))
    complete = read_json(build / "genotype.json", Genotype)
    model = own_model(graph, plan, complete, networks.segmentation)
    options = BuildOptions((1, *networks.segmentation.input), precision="f16")
    write_model(specialise_model(model, options, "model.onnx"), build / name)
    digest = hashlib.sha256((build / name).read_bytes()).hexdigest()
    changed = {"engine_sha256": digest, "float32_nodes": plan.float32}
    car.write_text(read_json(car, SideCar).model_copy(update=changed).to_json())
    update_manifest(build, name, "engines/onnx-f16/engine.json")
    found = by_name(check(build, threads=1))["onnx-f16"]
    assert (found.status, found.verdict) == ("failed", "fail")
    assert found.reason.startswith("cell0/node2/sum is kept in float32")


def test_a_merged_sum_that_leaves_float16_stays_float32():
    """What fits alone may not fit together: the scan is of the graph as it is rewritten."""
    graph = parse_graph(
        """
        input = input(shape=('N', 2, 4, 4))
        a = conv(input, in_channels=2, out_channels=2) @ cell0/node2/path0/sep_conv_3x3
        b = conv(input, in_channels=2, out_channels=2) @ cell0/node2/path1/sep_conv_3x3
        c = conv(input, in_channels=2, out_channels=2) @ cell0/node2/path2/sep_conv_3x3
        pool = max_pool(c) @ cell0/node2/path3/max_pool_3x3
        sum = sum(a, b, pool) @ cell0/node2
        return logits=sum
        """
    )
    eye = np.eye(2, dtype=np.float32)[:, :, None, None]
    graph.weights = {"a.weight": 2e4 * eye, "b.weight": 2e4 * eye, "c.weight": -4e4 * eye}
    x = np.ones((1, 2, 4, 4), np.float32)
    plain = plan_for(graph, "f16", [x])
    assert not {"a", "b"} & {*plain.float32}
    merged = rewritten(graph, Plan("f16", rewrites=("merge_sums",)))
    assert "sum_merged" in plan_for(merged, "f16", [x]).float32
