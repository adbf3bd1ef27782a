"""Nested phases as one share."""

from hypothesis import given
from hypothesis import strategies as st

from exporters.targets.tensorrt_progress import Phases


def test_a_phase_fills_its_part_of_the_step_above():
    phases = Phases()
    phases.start("build", None, 4)
    phases.step("build")
    assert phases.share == 0.25
    phases.start("optimise", "build", 2)
    phases.step("optimise")
    assert phases.share == 0.25 + 0.25 / 2
    phases.finish("optimise")
    assert phases.share == 0.25 + 0.25 / 2
    phases.step("build")
    assert phases.share == 0.5


def test_steps_of_phases_that_are_over_are_ignored():
    phases = Phases()
    phases.finish("never begun")
    phases.step("never begun")
    assert phases.share == 0


@given(st.lists(st.tuples(st.sampled_from(["start", "step", "finish"]), st.integers(0, 3))))
def test_whatever_comes_the_share_never_falls_nor_leaves_0_to_1(events):
    phases, before = Phases(), 0.0
    for kind, depth in events:
        if kind == "start":
            phases.start(str(depth), str(depth - 1) if depth else None, depth)
        else:
            getattr(phases, kind)(str(depth))
        assert before <= phases.share <= 1
        before = phases.share
