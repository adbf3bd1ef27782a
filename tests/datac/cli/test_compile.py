"""`datac compile`: what it makes, what it prints, and how it ends."""

import errno
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from datac.cli import run
from datac.cli.compile_steps import exit_code
from datac.documents.build_folder import SideCar
from datac.documents.read import read_json
from datac.documents.report import Report
from datac.output_folder import mark
from exporters.targets.onnx import CpuRunner
from exporters.targets.target import Missing
from exporters.targets.tensorrt import TensorRT

CORE = {
    ".datac.json",
    "genotype.json",
    "manifest.json",
    "model.onnx",
    "model.py",
    "runtime.py",
    "reference.npz",
    "report.html",
    "report.json",
    "weights.safetensors",
}
QUICK = ("--bench-seconds", "0")


def listing(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in listing(folder)}


@pytest.fixture
def no_tensorrt(monkeypatch):
    absent = Missing("TensorRT is not installed here", "pip install 'datac[trt]'")
    monkeypatch.setattr(TensorRT, "missing", lambda self: absent)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder that one stands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys):
    """said(): the last line on stderr, which is the sentence of an error."""
    return lambda: capsys.readouterr().err.strip().splitlines()[-1]


def test_the_missions_line_without_tensorrt(build, empty, no_tensorrt, capsys, tiny):
    """Everything up to the checked ONNX, one sentence on how to get TensorRT, exit code 3."""
    genotype = build / "genotype.json"
    genotype.rename(empty / "genotype.json")
    assert run(["compile", "genotype.json", "--target", "trt", *QUICK, "--out", "made"]) == 3
    assert listing(empty / "made") == CORE
    output = " ".join(capsys.readouterr().out.split())
    assert output.count("pip install 'datac[trt]'") == 1
    report = read_json(empty / "made" / "report.json", Report)
    assert report.verdict == report.canonical.verdict == "pass"
    assert report.genotype.network.channels == 4, "the genotype's own network"
    (target,) = report.targets
    assert (target.target, target.status, target.verdict) == ("trt", "missing", None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here_is_3_and_the_rest_is_made(empty, tiny, capsys):
    targets = ("--target", "torch", "--target", "onnx", "--target", "openvino")
    assert run(["compile", "data-m4", *tiny, *targets, "--device", "cuda", *QUICK]) == 3
    output = " ".join(capsys.readouterr().out.split())
    assert "torch sees no CUDA device here; use --device cpu" in output
    assert "ONNX Runtime cannot run on CUDA here" in output or "onnxruntime package" in output
    report = read_json(empty / "build/report.json", Report)
    status = {target.target: target.status for target in report.targets}
    assert status == {"torch": "missing", "onnx": "missing", "openvino": "run"}
    assert report.canonical.verdict == "pass"
    assert listing(empty / "build") >= CORE


def test_every_target_at_once(empty, no_tensorrt, tiny):
    pytest.importorskip("tensorrt_rtx")
    names = ("onnx", "openvino", "torch", "trt-rtx", "trt")
    targets = [word for name in names for word in ("--target", name)]
    assert run(["compile", "data-m4", *tiny, *targets, "--bench-seconds", "0.1"]) == 3
    report = json.loads((empty / "build/report.json").read_text())
    status = {target["target"]: target["status"] for target in report["targets"]}
    assert list(status) == list(names)
    assert [status[name] for name in ("onnx", "openvino", "torch")] == ["run"] * 3
    assert status["trt-rtx"] in ("run", "built")
    assert status["trt"] == "missing"
    engines = {"onnx": "model.onnx", "openvino": "model.onnx", "trt-rtx": "engine.plan"}
    for name, file in (engines | {"torch": "model.py"}).items():
        assert {file, "engine.json"} <= listing(empty / f"build/engines/{name}-f32")
    plan = (empty / "build/engines/trt-rtx-f32/engine.plan").read_bytes()
    side_car = read_json(empty / "build/engines/trt-rtx-f32/engine.json", SideCar)
    assert side_car.engine_sha256 == sha256(plan).hexdigest()
    for target in report["targets"]:
        if target["status"] == "run":
            assert target["verdict"] == "pass"
            assert target["error"]["rms"] <= target["error"]["tolerance"]
            assert target["latency_ms"]["median"] <= target["latency_ms"]["p99"]
        elif target["status"] == "built":
            assert "verdict" not in target
            assert "latency_ms" not in target


def test_segmentation_with_the_embedded_data(empty, capsys):
    sizes = ("--channels", "4", "--cells", "3", "--head-channels", "4", "--input", "3x32x32")
    data = ("--data", "shapes", "--samples", "2", "--threads", "1")
    targets = ("--target", "onnx", "--target", "torch")
    assert run(["compile", "data-m4", *sizes, *data, *targets, *QUICK]) == 0
    report = read_json(empty / "build/report.json", Report)
    assert report.genotype.network.skeleton == "segmentation"
    assert report.genotype.network.classes == 6
    onnx, eager = report.targets
    assert onnx.metric.name == "miou"
    assert onnx.metric.samples == 2
    assert abs(onnx.metric.value - eager.metric.value) < 0.001
    assert len(report.masks) == 2
    page = (empty / "build/report.html").read_text()
    assert page.count("data:image/png;base64,") >= 2 * 4
    assert "report: build/report.html" in capsys.readouterr().out


class References(HTMLParser):
    """Everything that a page would fetch."""

    def __init__(self):
        super().__init__()
        self.found, self.pages = [], 0

    def handle_starttag(self, tag, attributes):
        self.pages += tag == "html"
        self.found += [v for k, v in attributes if k in ("src", "href") and tag != "a"]


def test_the_page_is_one_file_that_fetches_nothing(compiled):
    page = (compiled / "report.html").read_text()
    reader = References()
    reader.feed(page)
    assert reader.pages == 1
    assert all(value.startswith(("data:", "#")) for value in reader.found)
    assert not re.search(r"url\((?!['\"]?(data:|#))", page)
    assert "<svg" in page


# ---- from a build --------------------------------------------------------------------------------


def test_a_build_is_extended_without_torch_and_keeps_its_engines(build, without_torch):
    before = contents(build)
    done = without_torch("compile", "build", "--target", "onnx", "--threads", "1", *QUICK)
    assert done.returncode == 0, done.stderr
    after = contents(build)
    assert after.keys() == before.keys()
    for name in before:
        if not name.startswith(("report", "manifest")):
            assert after[name] == before[name], name
    status = {t.target: t.status for t in read_json(build / "report.json", Report).targets}
    assert status == {"onnx": "run", "openvino": "run", "torch": "built"}


def test_torch_is_missing_where_there_is_none(build, without_torch):
    done = without_torch("compile", "build", "--target", "torch", "--threads", "1", *QUICK)
    assert done.returncode == 3, done.stderr
    assert "pip install 'datac[search]'" in done.stdout


def test_a_genotype_needs_the_extra_with_torch(empty, without_torch, tiny):
    done = without_torch("compile", "data-m4", *tiny, "--target", "onnx")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "datac: datac compile needs torch, which is not installed; pip install 'datac[search]'"
    )
    assert listing(empty) == set()


@pytest.mark.parametrize("option", [("--channels", "4"), ("--weights", "other.safetensors")])
def test_a_build_has_its_network_and_weights(build, said, option):
    before = contents(build)
    assert run(["compile", "build", "--target", "onnx", *option]) == 2
    assert "is a build and has its weights and network" in said()
    assert contents(build) == before


# ---- bad input: one sentence, exit code 2, nothing written --------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--input", "3x0x16"), "3x0x16"),
        (("--input", "3x-16x16"), "3x-16x16"),
        (("--input", "16x16"), "CHANNELSxHEIGHTxWIDTH"),
        (("--channels", "-4"), "--channels"),
        (("--channels", "5"), "channels 5 is odd"),
        (("--weights", "absent.safetensors"), "absent.safetensors: there is no such file"),
        (("--data", "absent"), "absent"),
        (("--data", "shapes", "--network", "cifar"), "labelled for segmentation"),
        (("--data", "shapes", "--classes", "3"), "--classes 3 disagrees with shapes"),
        (("--data", "shapes", "--split", "absent", "--head-channels", "4"), "no split absent"),
        (("--target", "onxx"), 'did you mean "onnx"'),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_bad_options(empty, said, tiny, arguments, words):
    assert run(["compile", "data-m4", *tiny, "--target", "onnx", *arguments]) == 2
    sentence = said()
    assert sentence.startswith("datac: ")
    assert words in sentence
    assert listing(empty) == set()


@pytest.mark.parametrize("source", ["data-m5", "absent.json", "."])
def test_what_is_no_genotype(empty, said, source):
    assert run(["compile", source, "--target", "onnx"]) == 2
    assert said().startswith("datac: ")
    assert listing(empty) == set()


def test_a_foreign_output_folder_is_refused(empty, said, tiny):
    (empty / "build").mkdir()
    (empty / "build/thesis.tex").write_text("mine")
    assert run(["compile", "data-m4", *tiny, "--target", "onnx"]) == 2
    assert said() == ("datac: build was not written by datac and is not empty; name another folder")
    assert listing(empty) == {"build/thesis.tex"}


def test_weights_that_do_not_fit(build, empty, said, tiny):
    tensors = load_file(build / "weights.safetensors")
    save_file(tensors | {"more": np.zeros(1, np.float32)}, empty / "w.safetensors")
    before = contents(empty)
    given = ("--weights", "w.safetensors", "--out", "made")
    assert run(["compile", "data-m4", *tiny, "--target", "onnx", *given]) == 2
    assert "w.safetensors: tensor more is not part of this network" in said()
    assert contents(empty) == before


def test_a_pickle_is_refused(empty, said, tiny):
    torch.save({"head.linear.bias": torch.zeros(10)}, "w.pt")
    assert run(["compile", "data-m4", *tiny, "--target", "onnx", "--weights", "w.pt"]) == 2
    assert "w.pt is a pickle" in said()
    assert listing(empty) == {"w.pt"}


def test_a_full_disk_leaves_the_old_build_whole(build, said, tiny, monkeypatch):
    before = contents(build)

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("exporters.reference.write_beside", full)
    assert run(["compile", "data-m4", *tiny, "--target", "onnx", "--seed", "1"]) == 2
    assert "the disk is full" in said()
    assert contents(build) == before
    assert [path.name for path in build.parent.iterdir()] == ["build"]


# ---- exit codes ----------------------------------------------------------------------------------


@pytest.fixture
def broken_runtime(monkeypatch):
    """ONNX Runtime answers what is a thousandth too much."""
    answer = CpuRunner.run
    monkeypatch.setattr(
        CpuRunner,
        "run",
        lambda self, inputs: {k: v * np.float32(1.001) for k, v in answer(self, inputs).items()},
    )


def test_a_failed_gate_is_1_and_the_report_says_why(empty, tiny, broken_runtime):
    assert run(["compile", "data-m4", *tiny, "--target", "onnx", *QUICK]) == 1
    report = read_json(empty / "build/report.json", Report)
    assert report.verdict == "fail"
    assert "logits is off by" in report.targets[0].reason


def test_a_failed_gate_goes_before_a_missing_platform(empty, tiny, broken_runtime, no_tensorrt):
    targets = ("--target", "onnx", "--target", "trt")
    assert run(["compile", "data-m4", *tiny, *targets, *QUICK]) == 1


def test_bad_input_goes_before_a_missing_platform(empty, tiny, no_tensorrt):
    assert run(["compile", "data-m4", *tiny, "--target", "trt", "--weights", "absent"]) == 2


@pytest.mark.parametrize(
    ("verdict", "statuses", "code"),
    [
        ("pass", ("run", "built"), 0),
        ("pass", ("run", "missing"), 3),
        ("fail", ("run", "missing"), 1),
        ("fail", ("failed",), 1),
        ("inconclusive", ("built",), 3),
    ],
)
def test_the_exit_code_of_a_report(verdict, statuses, code):
    targets = tuple(SimpleNamespace(status=status) for status in statuses)
    assert exit_code(SimpleNamespace(verdict=verdict, targets=targets)) == code


def test_a_bug_of_ours_is_70(empty, tiny, said, monkeypatch):
    def broken(*arguments):
        raise AssertionError("two and two")

    monkeypatch.setattr("exporters.export.canonical_graph", broken)
    assert run(["compile", "data-m4", *tiny, "--target", "onnx"]) == 70
    assert "bug of ours" in said()
    assert listing(empty) == set()


def test_a_published_name_wins_over_a_folder_of_that_name(empty, tiny):
    (empty / "data-m4").mkdir()
    assert run(["compile", "data-m4", *tiny, "--target", "onnx", "--bench-seconds", "0"]) == 0
    assert run(["compile", "./data-m4", "--target", "onnx"]) == 2


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("child", "holds an unfinished child"), ("run", "is a search; train a child with")],
)
def test_weights_that_are_not_ready_are_refused(empty, tiny, capsys, kind, sentence):
    (empty / "ti").mkdir()
    mark(empty / "ti", kind, finished=kind == "run")
    assert run(["compile", "data-m4", *tiny, "--weights", "ti", "--target", "onnx"]) == 2
    assert sentence in capsys.readouterr().err
