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


def test_emission(tmp_path):
    pytest.importorskip("onnxscript")
    script = str(ROOT / "benchmarks" / "emission.py")
    done = subprocess.run(
        [sys.executable, script, "--net", "segmentation", *TINY, *QUICK, "--json", "out.json"],
        cwd=tmp_path,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    exporters = json.loads((tmp_path / "out.json").read_text())["segmentation"]["exporters"]
    assert list(exporters) == ["datac", "torchscript"]
    for result in exporters.values():
        assert result["error"]["verdict"] == "pass"
        assert result["latency_ms"]["median"] > 0
        assert 0 < result["again_s"]["median"] <= result["process_s"]["median"]
    assert "| torch.onnx.export, dynamo=False |" in done.stdout
