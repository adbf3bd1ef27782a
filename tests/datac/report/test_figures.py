import math
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.documents.report import Latency, OutputError, TargetResult
from datac.report.figures import WIDTH, error_figure, latency_figure

SVG = "{http://www.w3.org/2000/svg}"
anything = st.floats(min_value=0) | st.just(math.nan)


def target(name="onnx", **what):
    return TargetResult(target=name, precision="f32", status="run", **what)


def timed(median, p90, conclusive=True):
    return Latency(
        median=median,
        p90=p90,
        p99=p90,
        spread=0.1,
        conclusive=conclusive,
        rounds=1,
        calls=1,
        batch=1,
        device="CPU",
    )


def test_bars_are_in_proportion():
    targets = [target("a", latency_ms=timed(10, 20)), target("b", latency_ms=timed(5, 6))]
    root = ElementTree.fromstring(latency_figure(targets))
    a, b = (float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect"))
    assert a == pytest.approx(2 * b, rel=0.01)


def test_an_inconclusive_latency_says_so():
    figure = latency_figure([target(latency_ms=timed(1, 2, conclusive=False))])
    assert "inconclusive" in figure
    assert 'class="doubt"' in figure


def test_nothing_measured_is_no_figure():
    assert latency_figure([target()]) is None
    assert error_figure([target()]) is None


def dots(figure):
    """(x of the rms, x of the tolerance, whether it is marked bad), an output each."""
    root = ElementTree.fromstring(figure)
    found = []
    for group in root.iter(f"{SVG}g"):
        dot = group.findall(f"{SVG}circle")[1]
        limit = group.find(f"{SVG}line[@class='limit']")
        bad = "bad" in dot.attrib["class"]
        found.append((float(dot.attrib["cx"]), float(limit.attrib["x1"]), bad))
    return found


def test_an_error_stands_on_its_side_of_the_tolerance():
    outputs = (
        OutputError(max_abs=1e-5, rms=1e-6, tolerance=1e-5, output="logits"),
        OutputError(max_abs=1e-2, rms=1e-3, tolerance=1e-5, output="auxiliary"),
        OutputError(max_abs=math.inf, rms=math.nan, tolerance=1e-5, output="broken"),
        OutputError(max_abs=0, rms=0, tolerance=1e-5, output="exact"),
    )
    found = dots(error_figure([target(outputs=outputs)]))
    assert [rms > limit for rms, limit, _ in found] == [False, True, True, False]
    assert [bad for _, _, bad in found] == [False, True, True, False]


@settings(max_examples=100, deadline=None)
@given(anything, anything, anything)
def test_any_numbers_stay_inside(one, two, three):
    what = target(
        error=OutputError(max_abs=one, rms=two, tolerance=three), latency_ms=timed(one, two)
    )
    for figure in (latency_figure([what]), error_figure([what])):
        for element in ElementTree.fromstring(figure).iter():
            for key in ("x", "cx", "x1", "x2"):
                assert -1 <= float(element.attrib.get(key, 0)) <= WIDTH
            assert 0 <= float(element.attrib.get("width", 0)) <= WIDTH
