"""Progress where there is no terminal: short logs that still say how far, and how long."""

from datac.cli.progress import progress_line


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_names_each_kind_once_and_says_every_half_minute_how_far_it_is(capsys):
    clock = Clock()
    with progress_line(clock) as show:
        for step in range(101):
            clock.now = float(step)
            show(f"latency, round {step} of 100", step / 100)
        for step in range(3):
            clock.now += 1
            show("metric", step / 2)
        clock.now += 60
        show("latency, again", 0.5)
    assert capsys.readouterr().err.splitlines() == [
        "latency ...",
        "latency, round 30 of 100: 30%, about 70 s left",
        "latency, round 60 of 100: 60%, about 40 s left",
        "latency, round 90 of 100: 90%, about 10 s left",
        "metric ...",
        "latency, again: 50%",
    ]


def test_what_does_not_move_has_no_time_left(capsys):
    clock = Clock()
    with progress_line(clock) as show:
        show("build onnx", 0.0)
        clock.now = 31.0
        show("build onnx, still", 0.0)
    assert capsys.readouterr().err.splitlines() == ["build onnx ...", "build onnx, still: 0%"]


def test_steps_that_take_longer_than_a_line_have_a_time_left_too(capsys):
    clock = Clock()
    with progress_line(clock) as show:
        for step in range(5):
            clock.now = 100.0 * step
            show(f"cells, {step} of 10", step / 10)
    assert capsys.readouterr().err.splitlines()[-1] == "cells, 4 of 10: 40%, about 600 s left"
