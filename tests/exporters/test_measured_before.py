"""Metrics of engines that stay as they are outlive a compile that measures nothing."""

import shutil
from dataclasses import replace

import pytest

from datac.datasets import open_dataset
from datac.datasets.preprocess import prepared_network
from datac.documents.read import read_json
from datac.documents.report import Report
from exporters.export import compile_build, compile_genotype
from exporters.request import Request
from exporters.task import labelled_inputs


@pytest.fixture
def measured(genotype, networks, tmp_path):
    """(request, report) of a build whose engine was measured on data."""
    dataset = open_dataset("shapes")
    network = networks.segmentation.model_copy(update={"classes": len(dataset.classes.names)})
    network = prepared_network(network, dataset)
    data = labelled_inputs(dataset, network, "val", 2)
    request = Request(("onnx",), tmp_path / "build", data=data, threads=1, bench_seconds=0.0)
    return replace(request, data=None), compile_genotype(genotype, network, None, request)


def test_they_stay_with_the_engine_and_go_with_it(measured):
    request, before = measured
    (own,) = before.targets
    report = compile_build(request.out, replace(request, targets=("openvino",)))
    metrics = {result.target: result.metric for result in report.targets}
    assert metrics == {"onnx": own.metric, "openvino": None}
    assert report.reference_metric == before.reference_metric
    assert [mask.sample for mask in report.masks] == [mask.sample for mask in before.masks]
    assert "onnx-f32" in report.masks[0].predictions
    # What is gone is not shown, and where another runtime or device answers nothing is known.
    shutil.rmtree(request.out / "engines/openvino-f32")
    (kept,) = compile_build(request.out, request).targets
    assert (kept.target, kept.metric) == ("onnx", own.metric)
    written = request.out / "report.json"
    saved = read_json(written, Report)
    for changes in ({"device": "cuda"}, {"version": "onnxruntime 0.1"}):
        changed = saved.targets[0].model_copy(update=changes)
        written.write_text(saved.model_copy(update={"targets": (changed,)}).to_json())
        report = compile_build(request.out, request)
        assert [(r.target, r.metric) for r in report.targets] == [("onnx", None)]
    extra = {"gone-f32": "", **saved.masks[0].predictions}
    mask = saved.masks[0].model_copy(update={"predictions": extra})
    written.write_text(saved.model_copy(update={"masks": (mask,)}).to_json())
    report = compile_build(request.out, request)
    assert "gone-f32" not in report.masks[0].predictions
    assert report.targets[0].metric == own.metric
    # Another plan, another file: what was measured says nothing of it.
    report = compile_build(request.out, replace(request, rewrites=()))
    assert [result.metric for result in report.targets] == [None]
    assert report.masks == ()


def test_a_report_that_cannot_be_read_says_nothing(measured):
    request, _ = measured
    (request.out / "report.json").write_text("{")
    report = compile_build(request.out, replace(request, targets=("openvino",)))
    assert [result.metric for result in report.targets] == [None, None]
