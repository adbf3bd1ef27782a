"""How the judges are scored: on observations made up for it."""

from dataclasses import replace

import pytest

from exporters.faults.judges import Constants, constants_of, opinions, same_place, scores
from exporters.faults.observe import Observation

PATH = "cell0/node2/path1/sep_conv_3x3"
HEALTHY = Observation("a", "ONNX Runtime", "f32", output=0.8, places=((PATH, 0.6),))
FAULT = replace(HEALTHY, fault="stale weight", place=PATH, change=1e-3)
CONSTANTS = Constants({"f32": 1.0}, {"f32": 1.5})


def test_constants_are_a_quarter_above_what_healthy_runs_show():
    louder = replace(HEALTHY, output=0.4, fused=(("stem", 1.2),))
    constants = constants_of([HEALTHY, louder])
    assert constants.output == {"f32": pytest.approx(1.0)}
    assert constants.place == {"f32": pytest.approx(1.5)}


def test_each_judge_looks_at_its_own():
    seen = replace(FAULT, places=(("stem", 1.4), (PATH, 9.0), ("head", 8.0)))
    found = opinions(seen, CONSTANTS)
    assert (found["places"].alarm, found["places"].place) == (True, PATH)
    assert not found["outputs"].alarm
    assert not found["structure"].alarm
    assert found["numbers"] == found["together"] == found["places"]
    assert "fused engine" not in found
    assert opinions(replace(FAULT, output=None), CONSTANTS)["outputs"].alarm
    both = opinions(replace(seen, structure=("head",)), CONSTANTS)
    assert both["together"].place == PATH, "structure may name a reader of what is wrong"
    alone = opinions(replace(FAULT, structure=("head",)), CONSTANTS)
    assert (alone["together"].alarm, alone["together"].place) == (True, "head")


def test_rules_of_others_are_judges_too():
    found = opinions(replace(FAULT, others=("optimum (1e-5)",)), CONSTANTS)
    assert found["optimum (1e-5)"].alarm
    assert not found["cosine above 0.999"].alarm


@pytest.mark.parametrize(
    ("named", "right", "same"),
    [
        ("cell0/node2/path1", PATH, True),
        (PATH, PATH, True),
        ("cell0/node2/path2", PATH, False),
        ("cell0/node2", PATH, False),
        ("cell0/node2/path4", "cell0/node2", True),
        ("cell0/node3", "cell0/node2", False),
        (None, PATH, False),
    ],
)
def test_a_place_is_right_down_to_its_path(named, right, same):
    assert same_place(named, right) is same


def test_scores_count_what_is_caught_and_where():
    caught = replace(FAULT, places=((PATH, 9.0),))
    elsewhere = replace(FAULT, places=(("cell0/node2/path0/skip_connect", 9.0),))
    nothing = replace(FAULT, change=0.0)
    alarm = replace(HEALTHY, places=((PATH, 2.0),))
    found = scores([HEALTHY, alarm, caught, elsewhere, FAULT, nothing], CONSTANTS)
    score = found["f32", "places"]
    assert (score.injected, score.caught) == (3, 2)
    assert (score.healthy, score.false_alarms) == (2, 1)
    assert (score.paths, score.right_path, score.right_node) == (2, 1, 2)
