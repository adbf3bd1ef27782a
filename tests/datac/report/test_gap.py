"""The gap in words and as a figure, on the page of a run."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datac.documents.gap import Gap
from datac.report.figures import WIDTH
from datac.report.gap import gap_figure, gap_sentence
from datac.report.page import write_page

SVG = "{http://www.w3.org/2000/svg}"
GAP = Gap(
    metric="accuracy",
    samples=256,
    sampled=(0.75, 0.8, 0.85, 0.8, 0.8),
    derived=0.8002,
    recomputed=0.7,
    child=0.4,
    chance=0.25,
    margin=0.05,
)
AT_CHANCE = GAP.model_copy(update={"metric": "miou", "sampled": (0.25, 0.27, 0.26, 0.27, 0.25)})
share = st.floats(0, 1)


def test_the_sentence_has_sign_spread_and_parts():
    assert gap_sentence(GAP) == (
        "The gap is +0.400 ± 0.035 accuracy (derivation +0.000, form +0.100, statistics +0.300): "
        "the supernet has 0.800 over 5 draws, the child with its weights 0.400, chance 0.250."
    )
    better = GAP.model_copy(update={"child": 0.9})
    assert gap_sentence(better).startswith("The gap is -0.100 ±")


def test_at_chance_the_sentence_gives_no_gap():
    assert gap_sentence(AT_CHANCE) == (
        "No gap can be measured: the supernet is at chance, with mIoU 0.260 over 5 draws where the "
        "commonest class everywhere has 0.250 and luck up to 0.300."
    )


def test_where_luck_may_be_right_everywhere_the_split_is_to_blame():
    small = GAP.model_copy(update={"chance": 0.5, "margin": 0.707})
    assert gap_sentence(small) == (
        "No gap can be measured: the validation split is too small to tell a supernet from chance, "
        "which may reach any accuracy; give more samples."
    )


def test_bars_are_in_proportion_and_draws_are_dots():
    root = ElementTree.fromstring(gap_figure(GAP))
    bars = [float(b.attrib["width"]) for b in root.iter(f"{SVG}rect") if b.get("class") == "bar"]
    assert [bar / bars[0] for bar in bars] == pytest.approx([1, 1, 0.875, 0.5], abs=0.01)
    dots = sorted(float(dot.attrib["cx"]) for dot in root.iter(f"{SVG}circle"))
    assert dots[2] == pytest.approx(bars[0], abs=0.1)
    assert len(dots) == 5
    zone, *_ = (r for r in root.iter(f"{SVG}rect") if r.get("class") == "zone")
    assert float(zone.attrib["width"]) == pytest.approx(bars[0] * 0.3 / 0.8, abs=0.1)


@given(st.lists(share, min_size=2, max_size=7), share, share, share, share, share)
def test_any_numbers_stay_inside(sampled, derived, recomputed, child, chance, margin):
    gap = Gap(
        metric="miou",
        samples=1,
        sampled=tuple(sampled),
        derived=derived,
        recomputed=recomputed,
        child=child,
        chance=chance,
        margin=margin,
    )
    gap_sentence(gap)
    for element in ElementTree.fromstring(gap_figure(gap)).iter():
        for key in ("x", "cx", "x1", "x2", "width"):
            assert 0 <= float(element.attrib.get(key, 0)) <= WIDTH


@pytest.mark.parametrize("gap", [GAP, AT_CHANCE, None])
def test_the_page_shows_it_where_it_was_measured(result, tmp_path, gap):
    (tmp_path / "search_result.json").write_text(result.model_copy(update={"gap": gap}).to_json())
    page = write_page(tmp_path).read_text()
    if gap is None:
        assert "The gap" not in page
        return
    assert gap_sentence(gap) in page
    assert "<h2>The gap</h2>" in page
    assert gap_figure(gap) in page
    assert "the same 256\nvalidation samples" in page
