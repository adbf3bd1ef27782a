import json
import re
from pathlib import Path

from datac.documents.read import read_json
from datac.documents.train_result import TrainResult
from datac.report.page import write_page


def write_metrics(folder):
    lines = [
        json.dumps({"step": step, "epoch": 0, "train_loss": 1 / (step + 1)}) for step in (0, 1)
    ]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 2, "tr']))


def test_a_search_has_cells_probabilities_and_curves(result, tmp_path):
    (tmp_path / "search_result.json").write_text(result.to_json())
    write_metrics(tmp_path)
    page = write_page(tmp_path).read_text()
    for words in (
        result.genotype.hash,
        "3 epochs on &lt;b&gt;shapes&lt;/b&gt; in 1 min 15 s.",
        "reduction cell",
        "the chosen set has probability 0.25, the next best 0.125",
        "loss over the steps",
        "1 line of metrics.jsonl could not be read",
    ):
        assert words in page
    assert "<b>" not in page


def test_every_chosen_path_has_a_filled_bar(result, tmp_path):
    (tmp_path / "search_result.json").write_text(result.to_json())
    page = write_page(tmp_path).read_text()
    chosen = sum(
        len(set(node.paths)) for cell in result.genotype.cells.values() for node in cell.nodes
    )
    assert len(re.findall(r'class="bar"', page)) == chosen


def test_an_unfinished_run_shows_its_curves(tmp_path):
    write_metrics(tmp_path)
    page = write_page(tmp_path).read_text()
    assert "This is not finished" in page
    assert "loss over the steps" in page


def test_an_empty_log_is_no_error(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    assert "Nothing was logged" in write_page(tmp_path).read_text()


def test_a_finished_training_says_what_it_reached(tmp_path):
    write_metrics(tmp_path)
    golden = Path(__file__).parents[2] / "golden/documents/train_result-1.json"
    (tmp_path / "train_result.json").write_bytes(golden.read_bytes())
    trained = read_json(golden, TrainResult)
    page = write_page(tmp_path).read_text()
    assert f"the best, epoch {trained.best.epoch}, reached {trained.metric}" in page
    assert "not finished" not in page
