"""The verdict on the bounds of a search, in words and on the page of a run."""

import pytest

from datac.documents.search_result import BoundResult
from datac.report.bounds import bound_sentence
from datac.report.page import write_page

MISSED = BoundResult(
    quantity="latency_ms", bound=2, child=2.5, unbounded=3, expected=2.75, multiplier=4
)
MET = BoundResult(
    quantity="multiply_adds",
    bound=130_000,
    child=129_000.0,
    unbounded=129_000.0,
    expected=131_000.4,
    multiplier=0.5,
)


def test_a_missed_bound_is_said_with_its_number():
    assert bound_sentence(MISSED) == (
        "2.500 ms: misses the bound by 0.5 of 2.000; without the bound 3.000; "
        "a draw has 2.750 on average"
    )


def test_a_bound_that_changed_nothing_does_not_say_what_it_changed():
    assert bound_sentence(MET) == (
        "129,000 multiply-adds: meets the bound of 130,000; a draw has 131,000 on average"
    )


@pytest.mark.parametrize(("child", "missed"), [(2.0000000000000004, False), (2.000001, True)])
def test_what_a_sum_rounds_off_misses_no_bound(child, missed):
    bound = MISSED.model_copy(update={"child": child})
    assert bool(bound.excess) is missed
    assert ("misses the bound by 1e-06 of" in bound_sentence(bound)) is missed


def test_the_page_has_a_verdict_for_each_bound(result, tmp_path):
    bounded = result.model_copy(update={"bounds": (MISSED, MET)})
    (tmp_path / "search_result.json").write_text(bounded.to_json())
    page = write_page(tmp_path).read_text()
    missed = f'<span class="badge fail">missed</span> {bound_sentence(MISSED)}.'
    met = f'<span class="badge pass">met</span> {bound_sentence(MET)}.'
    assert page.index("The bounds") < page.index(missed) < page.index(met)


def test_a_search_without_bounds_has_no_such_section(result, tmp_path):
    (tmp_path / "search_result.json").write_text(result.to_json())
    page = write_page(tmp_path).read_text()
    assert "How clear the choice was" in page
    assert "The bounds" not in page
