import json
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datac.report.curves import (
    HEIGHT,
    MOST_POINTS,
    Metrics,
    chart,
    charts,
    group_of,
    read_metrics,
    thinned,
    ticks,
)
from datac.report.figures import WIDTH

SVG = "{http://www.w3.org/2000/svg}"
points = st.lists(
    st.tuples(st.integers(0, 10**9), st.floats(-1e300, 1e300, exclude_min=True, exclude_max=True)),
    min_size=1,
)


def read(tmp_path, *lines):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines))
    return read_metrics(path)


def line(**record):
    return json.dumps(record).encode()


def test_scalars_become_curves(tmp_path):
    metrics = read(tmp_path, line(step=1, epoch=0, loss=2.0), line(step=2, epoch=0, loss=1.0))
    assert metrics == Metrics({"loss": [(1, 2.0), (2, 1.0)]})


def test_a_line_that_was_cut_off_is_left_out_and_counted(tmp_path):
    metrics = read(tmp_path, line(step=1, loss=2.0), b'{"step": 2, "lo')
    assert metrics == Metrics({"loss": [(1, 2.0)]}, unread=1)


def test_a_resumed_run_overwrites_the_steps_it_repeats(tmp_path):
    metrics = read(tmp_path, line(step=1, a=1), line(step=2, a=2), b'{"st', line(step=2, a=3))
    assert metrics == Metrics({"a": [(1, 1.0), (2, 3.0)]}, unread=1)


def test_what_is_no_finite_number_is_no_point(tmp_path):
    record = line(step=1, a=math.nan, b=math.inf, c=True, d="x", e=[1, 2], f=10**400, g={"h": 5})
    assert read(tmp_path, record) == Metrics({"g/h": [(1, 5.0)]})


@settings(max_examples=50, deadline=None)
@given(content=st.binary())
def test_no_content_breaks_the_reader(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    path.write_bytes(content)
    charts(read_metrics(path))


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("train_loss", ("loss", "train")),
        ("val_loss", ("loss", "val")),
        ("loss/train", ("loss", "train")),
        ("train/loss", ("loss", "train")),
        ("entropy/normal/node2", ("entropy/normal", "node2")),
        ("learning_rate", ("learning_rate", "learning_rate")),
    ],
)
def test_what_belongs_together_shares_a_chart(name, group):
    assert group_of(name) == group


@settings(max_examples=100, deadline=None)
@given(points)
def test_a_curve_stays_inside_its_chart(values):
    curve = sorted(values)
    root = ElementTree.fromstring(chart("loss", {"train": curve}))
    for pair in root.find(f"{SVG}polyline").attrib["points"].split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_long_curves_are_thinned_and_keep_their_ends():
    curve = [(step, math.sin(step / 900)) for step in range(20_000)]
    short = thinned(curve)
    assert len(short) <= MOST_POINTS
    assert (short[0], short[-1]) == (curve[0], curve[-1])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, (0, 0.5, 1)), (0.1, 0.47, (0.1, 0.2, 0.3, 0.4, 0.5)), (3, 3, (1, 2, 3, 4, 5))],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)
