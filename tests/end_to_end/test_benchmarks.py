"""The benchmarks run, on nets so small that their numbers mean nothing."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ("--channels", "4", "--cells", "3", "--input", "3x16x16", "--threads", "1")
QUICK = ("--repeats", "1", "--again", "1", "--seconds", "0.1", "--exporter", "torchscript")


def run(name, *arguments, folder):
    return started(name, *arguments, "--json", "out.json", folder=folder)


def started(name, *arguments, folder):
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *arguments],
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


@pytest.mark.skipif(sys.platform != "linux", reason="another kernel keeps no highest mark")
def test_the_peak_memory_is_what_a_runtime_takes_that_keeps_nothing(tmp_path):
    words = ("--net", "cifar", "--batch", "4", "--way", "onnx-open", "--repeats", "1")
    run("memory.py", *words, folder=tmp_path)
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert 0.8 < row["measured"] / row["predicted"] < 1.25


def test_healthy_runs_stay_well_within_the_gate(tmp_path):
    pytest.importorskip("openvino")
    small = ("--net", "segmentation", "--cell", "data-m4", "--seeds", "1")
    done = run("tolerance.py", *small, folder=tmp_path)
    runtimes = json.loads((tmp_path / "out.json").read_text())["segmentation"]
    assert len(runtimes) == 5
    assert all(0.05 < ratio < 2 for ratios in runtimes.values() for ratio in ratios)
    assert "the gate accepts 4" in done.stdout


def test_the_gate_is_tried_on_faults_and_goes_on_where_it_was(tmp_path):
    pytest.importorskip("openvino")
    one = ["--results", "gate.jsonl", "--fault", "stale weight", "--precision", "f32"]
    ways = ("ONNX Runtime", "numpy")
    one += [word for way in ways for word in ("--way", way)] + ["--most"]
    for _ in range(2):  # a subject of each half
        done = started("gate.py", *one, "1", folder=tmp_path)
    seen = [json.loads(line) for line in (tmp_path / "gate.jsonl").read_text().splitlines()]
    assert [o["variation"] for o in seen if o["fault"] is None] == [*ways, *ways]
    assert {o["subject"].partition("/")[0] for o in seen} == {"setting", "trying"}
    assert "| f32 | together | 2 / 2 | 0 / 4 |" in done.stdout


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
    assert (dense["codes"], sparse["codes"]) == (1, 8)
    least, most = sparse["peak_bytes_range"]
    assert least < sparse["peak_bytes"] < most


def test_a_float32_step_is_compared_with_float64():
    small = ("--channels", "8", "--cells", "3", "--input", "8", "--seeds", "1")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/gradient_error.py"), *small, "--draws", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 8
    assert all(0 < float(row[3]) < 0.1 for row in rows)


def test_single_operations_are_measured_beside_torchs_own(tmp_path):
    done = run(
        "operations.py", "--only", "a slice", "concat", "resize", "--repeats", "3", folder=tmp_path
    )
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    names = ["norm backward, gradient a slice", "norms behind concat", "resize and loss"]
    assert [row["operation"] for row in rows] == names
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows)
    assert "| norms behind concat |" in done.stdout


def test_bounded_searches_are_followed_by_their_children(tmp_path):
    search = "--epochs 1 --channels 4 --cells 3 --head-channels 8 --crop 32x32"
    bounds = ("--data", "shapes", "--max-macs", "5e5", "--seeds", "1", "--jobs", "1")
    small = (*bounds, "--search", search, "--train", "--epochs 1 --crop 32x32")
    done = run("bounds.py", *small, folder=tmp_path)
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["child"] <= row["bound"] == 500_000
    assert row["misses_by"] == 0
    assert row["retrained"] > 0
    written = (tmp_path / "bounds/500000/0/run/search_result.json").stat().st_mtime_ns
    assert run("bounds.py", *small, folder=tmp_path).stdout == done.stdout
    assert (tmp_path / "bounds/500000/0/run/search_result.json").stat().st_mtime_ns == written


# ---------------------------------------------------------------- kills

SMALL_RUN = ("--channels", "2", "--head-channels", "4", "--crop", "16", "--batch-size", "64")


def test_a_killed_training_is_compared_file_by_file(tmp_path):
    # By what it sees, not by the clock, which is another one on a busy machine.
    few = ("--train", "--runs", "0", "--half-written", "1", "--kills", "1", "--epochs", "1")
    done = run("kills.py", *SMALL_RUN, *few, folder=tmp_path)
    found = json.loads((tmp_path / "out.json").read_text())
    (row,) = found["rows"]
    (moment,) = row["moments_s"]
    assert moment > 0
    assert (row["files"], row["differing"]) == (6, [])
    assert f"killed after {moment:.3f} s" in done.stderr
    assert "none of 6" in done.stdout


@pytest.fixture
def kills():
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("kills", ROOT / "benchmarks" / "kills.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["kills"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    yield module
    del sys.modules["kills"]


def a_run(folder, value=1.0, seconds=1.0, more=()):
    """Files as a search leaves them."""
    torch = pytest.importorskip("torch")
    folder.mkdir()
    state = {"logits": torch.tensor([value, 2.0]), "seconds": seconds}
    torch.save({"state": state}, folder / "checkpoint.pt")
    lines = [json.dumps({"epoch": 1, "seconds": seconds, "loss": value})]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    options = {"options": {"seed": 0} | ({"resume": True} if seconds > 1 else {})}
    (folder / "search_result.json").write_text(json.dumps(options))
    (folder / "supernet.safetensors").write_bytes(b"weights")
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / f"events.{seconds}").touch()
    for name in more:
        (folder / name).touch()
    return folder


def test_times_may_differ_and_nothing_else(kills, tmp_path):
    reference = a_run(tmp_path / "reference")
    assert kills.differing(reference, a_run(tmp_path / "later", seconds=2.0)) == []
    other = a_run(tmp_path / "other", value=1.0 + 2**-23, more=[".checkpoint.pt.0a1b2c3d"])
    (other / "supernet.safetensors").write_bytes(b"weightz")
    assert kills.differing(reference, other) == [
        ".checkpoint.pt.0a1b2c3d",
        "checkpoint.pt",
        "metrics.jsonl",
        "supernet.safetensors",
    ]


def test_a_run_that_was_killed_when_all_was_written_is_not_begun_anew(kills, tmp_path):
    class Finished(kills.Runs):
        started = 0

        def go_on(self, folder, row):
            type(self).started += 1
            (folder / self.out).mkdir()
            (folder / self.out / ".datac.json").write_text('{"kind": "run", "finished": true}')
            return subprocess.Popen(["sleep", "60"], stderr=subprocess.PIPE, text=True)

    row = kills.run_with_kills(Finished((), "run"), tmp_path, [kills.until(0.0)] * 2, aimed=False)
    assert (Finished.started, len(row.moments_s), row.anew) == (1, 1, 0)


def test_a_difference_is_a_failure(kills, tmp_path, monkeypatch, capsys):
    row = kills.Row(aimed=True, moments_s=[1.0], half=1, files=6, differing=["metrics.jsonl"])
    found = {"rows": [asdict(row)]}
    monkeypatch.setattr(kills, "measure", lambda *_: found)
    monkeypatch.setattr(sys, "argv", ["kills.py"])
    with pytest.raises(SystemExit) as ended:
        kills.main()
    assert ended.value.code == 1
    assert "| 1 (aimed) | 1.00 | 1 | 0 | metrics.jsonl |" in capsys.readouterr().out


def test_runs_are_retrained_once_and_told_of_in_tables(tmp_path):
    small = ("--cifar10", "shapes-classification", "--size", "tiny", "--seeds", "1")
    run("fidelity.py", *small, "--row", "data-m4", "--results", "runs.jsonl", folder=tmp_path)
    (found,) = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert found["trained"]["parameters"] > 0
    assert found["trained"]["latency_ms"] > 0
    assert len(found["searched"]["gap"]["sampled"]) == 5
    assert found["searched"]["reasons"]
    done = run(
        "fidelity.py",
        *small,
        "--row",
        "data-m4",
        "--out",
        "elsewhere",
        "--results",
        "runs.jsonl",
        folder=tmp_path,
    )
    assert not (tmp_path / "elsewhere").exists()
    assert "[1 of 1] going on" in done.stderr
    assert "### Retrained: all runs" in done.stdout
