"""What CI services are given: JUnit XML, read by the standard library's parser, and Markdown."""

from xml.etree import ElementTree

import pytest

from datac.report.junit import junit
from datac.report.markdown import markdown

HOSTILE = "![x](http://a/b.png) | <img src=x> @someone `c` [l](m) www.a.b & \n# heading"


def test_every_judgement_is_a_test_case(report):
    root = ElementTree.fromstring(junit(report))
    (suite,) = root
    cases = {case.get("name"): case for case in suite}
    assert root.tag == "testsuites"
    assert suite.get("tests") == str(len(cases)) == str(2 + len(report.targets) - 1)
    assert cases["structure"].find("failure") is None
    assert cases["torch f32"].find("failure").get("message") == "the run broke at once"
    assert "not installed" in cases["trt f16"].find("skipped").get("message")
    assert suite.get("failures") == "1"


def test_structure_that_differs_is_a_failure_with_its_sentences(report):
    structure = report.structure.model_copy(
        update={"verdict": "fail", "differences": ("a & b: <c> is missing", "and another")}
    )
    root = ElementTree.fromstring(junit(report.model_copy(update={"structure": structure})))
    failure = root.find(".//testcase[@name='structure']/failure")
    assert failure.get("message") == "a & b: <c> is missing; and another"


def test_markdown_has_the_verdict_and_a_row_for_each_target(report):
    text = markdown(report)
    assert text.startswith("### ✅ datac: pass")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(report.targets)
    assert "| trt f16 | missing |" in text
    assert "0.4953" in text


@pytest.mark.parametrize("where", ["name", "difference", "reason"])
def test_text_from_a_report_makes_no_markup(report, where):
    changed = {
        "name": {"name": HOSTILE},
        "difference": {
            "structure": report.structure.model_copy(
                update={"verdict": "fail", "differences": (HOSTILE,)}
            )
        },
        "reason": {
            "targets": (
                report.targets[0].model_copy(update={"verdict": "fail", "reason": HOSTILE}),
            )
        },
    }[where]
    text = markdown(report.model_copy(update=changed))
    lines = text.splitlines()
    assert not any(line.startswith("# heading") for line in lines)
    outside_code = "".join(text.split("`")[::2])
    for mark in ("![x](", "<img", " @someone", "http://", "www.a", "&#60;&#"):
        assert mark not in outside_code
    assert "&\\#" not in text


def test_what_could_not_be_told_is_skipped_and_not_passed(report):
    structure = report.structure.model_copy(
        update={"verdict": "inconclusive", "differences": ("its inner values cannot be seen",)}
    )
    root = ElementTree.fromstring(junit(report.model_copy(update={"structure": structure})))
    case = root.find(".//testcase[@name='structure']/skipped")
    assert case.get("message") == "its inner values cannot be seen"


def test_a_coloured_message_is_still_xml(report):
    coloured = report.targets[0].model_copy(
        update={"verdict": "fail", "reason": "\x1b[31mbroken\x1b[0m \x00"}
    )
    root = ElementTree.fromstring(junit(report.model_copy(update={"targets": (coloured,)})))
    assert root.find(".//failure").get("message") == "?[31mbroken?[0m ?"
