import json
import math
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datac.documents.build_folder import PAGE, REPORT
from datac.documents.report import OutputError, StructureResult, TargetResult
from datac.errors import BadInput
from datac.report import wording
from datac.report.page import render, write_page
from datac.report.rows import rows

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags with attributes in order, the text outside style, and whether all tags close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_the_page_is_balanced_and_says_what_it_must(report):
    page = Page(render(report))
    for words in (
        "pass",
        "data-m7",
        report.genotype_hash,
        "3.44 M",
        "519 M",
        "child/weights.safetensors",
        "4.4e-7",
        "1.2e-5",
        "0.4953",
        "99.98 % equal",
        "21.4",
        "inconclusive",
        "0123456789ab",
        "34 of 34 paths",
        "datac compile data-m7 --target onnx",
        "onnx 1.18.0",
        "road",
    ):
        assert words in page.text


def test_every_status_is_said_in_words(report):
    text = Page(render(report)).text
    for words in (
        "built, not run",
        "missing: TensorRT is not installed; see NVIDIA's index",
        "failed: the run broke at once",
    ):
        assert words in text


def test_nothing_is_fetched_and_nothing_runs(report):
    page = Page(render(report))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "href" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in render(report)
    assert "url(" not in render(report)


def test_without_targets_network_or_provenance(bare_report):
    assert "No target was asked for" in Page(render(bare_report)).text


def test_both_cells_and_all_masks_are_there(report):
    page = Page(render(report))
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 3
    assert "normal cell" in page.text
    assert "reduction cell" in page.text


def test_differences_are_listed(report):
    structure = StructureResult(
        verdict="fail",
        paths_found=33,
        paths_expected=34,
        differences=("cell3/node2/path0: missing.",),
    )
    failed = report.model_copy(update={"verdict": "fail", "structure": structure})
    assert "cell3/node2/path0: missing." in Page(render(failed)).text
    assert wording.reason(failed) == (
        "The network is not the genotype's: cell3/node2/path0: missing."
    )


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "{{7*7}}"]
)
def test_hostile_text_stays_text_everywhere(report, hostile):
    """Every string of the document that is not a choice of words becomes hostile."""
    harmless = Page(render(report))
    targets = tuple(
        target.model_copy(
            update=dict.fromkeys(("target", "precision", "reason", "device", "digest"), hostile)
            | {"error": OutputError(max_abs=1, rms=1, tolerance=1, output=hostile)}
        )
        for target in report.targets
    )
    masks = tuple(
        mask.model_copy(
            update={"sample": hostile, "input": hostile, "predictions": {hostile: hostile}}
        )
        for mask in report.masks
    )
    update = dict.fromkeys(("name", "weights", "command", "genotype_hash"), hostile)
    update |= {"targets": targets, "masks": masks}
    page = Page(render(report.model_copy(update=update)))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in harmless.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert hostile in page.text


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.text(), command=st.text())
def test_any_text_gives_a_balanced_page(bare_report, name, command):
    page = Page(render(bare_report.model_copy(update={"name": name, "command": command})))
    assert "how it was made" in page.text.lower()


def test_write_page_reads_the_report_and_replaces_the_old_page(report, tmp_path):
    (tmp_path / REPORT).write_text(report.to_json())
    (tmp_path / PAGE).write_text("old")
    assert write_page(tmp_path) == tmp_path / PAGE
    assert (tmp_path / PAGE).read_text() == render(report)
    assert sorted(path.name for path in tmp_path.iterdir()) == [PAGE, REPORT]


def test_an_engine_that_answers_nan_still_has_a_page(report, tmp_path):
    error = OutputError(max_abs=math.inf, rms=math.nan, tolerance=1e-5)
    target = TargetResult(target="onnx", precision="f32", status="run", verdict="fail", error=error)
    failed = report.model_copy(update={"verdict": "fail", "targets": (target,)})
    (tmp_path / REPORT).write_text(failed.to_json())
    assert "not a number" in Page(write_page(tmp_path).read_text()).text


def test_a_folder_that_is_neither_says_what_was_looked_for(tmp_path):
    with pytest.raises(BadInput, match=r"report\.json.*search_result\.json.*metrics\.jsonl"):
        write_page(tmp_path)
    with pytest.raises(BadInput, match="is not a folder"):
        write_page(tmp_path / "nowhere")


def test_a_damaged_report_is_one_sentence_and_the_old_page_stays(tmp_path):
    (tmp_path / REPORT).write_text(json.dumps({"schema": "datac.report/1"}))
    (tmp_path / PAGE).write_text("old")
    with pytest.raises(BadInput, match=r"report\.json"):
        write_page(tmp_path)
    assert (tmp_path / PAGE).read_text() == "old"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "onnx f32 and openvino f32 agree with the float64 reference, and the ONNX holds"),
        ({"targets": ()}, "Nothing ran here"),
        ({"verdict": "inconclusive"}, "The measurement gave no clear answer, and the ONNX holds"),
    ],
)
def test_the_sentence_under_the_verdict(report, changes, words):
    sentence = wording.reason(report.model_copy(update=changes))
    assert sentence.startswith(words)
    assert sentence.endswith(".")


def test_the_sentence_of_a_failure_names_the_target_and_the_numbers(report):
    error = OutputError(max_abs=1e-2, rms=3e-3, tolerance=1e-5, output="logits")
    bad = report.targets[1].model_copy(update={"verdict": "fail", "error": error})
    failed = report.model_copy(update={"verdict": "fail", "targets": (report.targets[0], bad)})
    assert wording.reason(failed) == (
        "openvino f32: the rms error 3.0e-3 at output logits is not within the tolerance 1.0e-5."
    )


def canonical(**facts):
    return TargetResult(target="model.onnx", precision="f32", **{"status": "run"} | facts)


def test_the_canonical_onnx_comes_first_and_is_blamed_by_its_name(report):
    error = OutputError(max_abs=1e-2, rms=3e-3, tolerance=1e-5, output="logits")
    bad = canonical(verdict="fail", error=error, digest="feedbeef" * 8)
    failed = report.model_copy(update={"verdict": "fail", "canonical": bad})
    assert wording.reason(failed) == (
        "model.onnx: the rms error 3.0e-3 at output logits is not within the tolerance 1.0e-5."
    )
    assert [row.target for row in rows(failed)][:2] == ["model.onnx", "onnx"]
    assert "feedbeef" in Page(render(failed)).text


def test_the_canonical_onnx_alone_is_something_that_ran(report):
    alone = report.model_copy(update={"targets": (), "canonical": canonical(verdict="pass")})
    assert wording.reason(alone).startswith("model.onnx agrees with the float64 reference")


def test_the_page_says_what_agreement_is_with(report):
    metric = report.targets[0].metric
    text = Page(render(report.model_copy(update={"reference_metric": metric}))).text
    assert "eager torch on model.py, whose mIoU on the same 101 samples is 0.4953." in text


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0123, "0.0123"), (12.34, "12.3"), (9.999, "10.0"), (1234.5, "1230"), (0.0, "0")],
)
def test_milliseconds_have_three_digits(value, words):
    assert wording.milliseconds(value) == words
