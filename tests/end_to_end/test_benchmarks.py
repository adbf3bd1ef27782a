"""The benchmarks run, on nets so small that their numbers mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ("--channels", "4", "--cells", "3", "--input", "3x16x16", "--threads", "1")
QUICK = ("--repeats", "1", "--again", "1", "--seconds", "0.1", "--exporter", "torchscript")


def run(name, *arguments, folder):
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *arguments, "--json", "out.json"],
        cwd=folder,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_emission(tmp_path):
    pytest.importorskip("onnxscript")
    done = run("emission.py", "--net", "segmentation", *TINY, *QUICK, folder=tmp_path)
    exporters = json.loads((tmp_path / "out.json").read_text())["segmentation"]["exporters"]
    assert list(exporters) == ["datac", "torchscript"]
    for result in exporters.values():
        assert result["error"]["verdict"] == "pass"
        assert result["latency_ms"]["median"] > 0
        assert 0 < result["again_s"]["median"] <= result["process_s"]["median"]
    assert "| torch.onnx.export, dynamo=False |" in done.stdout


def test_healthy_runs_stay_well_within_the_gate(tmp_path):
    pytest.importorskip("openvino")
    small = ("--net", "segmentation", "--cell", "data-m4", "--seeds", "1")
    done = run("tolerance.py", *small, folder=tmp_path)
    runtimes = json.loads((tmp_path / "out.json").read_text())["segmentation"]
    assert len(runtimes) == 5
    assert all(0.05 < ratio < 2 for ratios in runtimes.values() for ratio in ratios)
    assert "the gate accepts 3" in done.stdout


def test_a_search_step_is_measured_beside_the_dense_one(tmp_path):
    small = ("--channels", "8", "--cells", "3", "--input", "8", "--batch", "2", "--repeats", "1")
    run(
        "search_step.py",
        *small,
        "--variant",
        "sparse",
        "--draws",
        "2",
        "--granularity",
        "node",
        folder=tmp_path,
    )
    rows = {row["variant"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    dense, sparse = rows["dense"], rows["sparse"]
    assert dense["time_ratio"] == dense["memory_ratio"] == 1
    assert sparse["memory_ratio"] > 1
    for count in ("flops", "launches", "saved_bytes", "peak_bytes"):
        assert 0 < sparse[count] < dense[count]


def test_single_operations_are_measured_beside_torchs_own(tmp_path):
    done = run("operations.py", "--only", "concat", "resize", "--repeats", "3", folder=tmp_path)
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["operation"] for row in rows] == ["norms behind concat", "resize and loss"]
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows)
    assert "| norms behind concat |" in done.stdout
