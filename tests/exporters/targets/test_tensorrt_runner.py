"""The order of TensorRT's calls, on a driver and a TensorRT that are played: y = 2 x."""

import json

import numpy as np
import pytest

from datac.errors import BadInput
from exporters.targets.target import TargetFailed
from exporters.targets.tensorrt_runner import TensorRTRunner


def test_it_answers_at_every_size_of_the_profile(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        assert runner.device == "cuda (Played GPU)"
        for shape in ((1, 3, 4, 4), (2, 3, 5, 7), (1, 3, 2, 2)):
            inputs = image(shape)
            np.testing.assert_array_equal(runner.run({"input": inputs})["logits"], 2 * inputs)


def test_an_input_that_is_not_one_block_is_read_right(trt, plan, image):
    inputs = image((1, 4, 5, 3)).transpose(0, 3, 1, 2)
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        np.testing.assert_array_equal(runner.run({"input": inputs})["logits"], 2 * inputs)


def test_compute_and_transfers_are_timed_apart(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        assert runner.time_call({"input": image((1, 3, 4, 4))}) == (5.0, 2.0)


def test_layers_are_timed_call_by_call_behind_a_warm_one(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        information, times = runner.time_layers({"input": image((1, 3, 4, 4))}, 3)
    assert json.loads(information)["Layers"][1] == "head/conv"
    assert times == {"stem/conv + stem/relu0": [3.0] * 3, "head/conv": [2.0] * 3}


def test_leaving_frees_everything(trt, plan, image, driver):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        runner.run({"input": image((1, 3, 4, 4))})
        assert driver.memory
    assert driver.memory == {}
    assert driver.open == 0


def test_a_size_outside_the_profile_is_refused(trt, plan, image):
    with TensorRTRunner(trt, "TensorRT", plan) as runner:
        with pytest.raises(TargetFailed, match="built for other sizes than input 3x3x4x4"):
            runner.run({"input": image((3, 3, 4, 4))})
        with pytest.raises(BadInput, match=r"of size \?x3x\?x\? and was given 1x4x4x4"):
            runner.run({"input": image((1, 4, 4, 4))})


def test_a_plan_that_does_not_load_says_why_and_where(trt, plan, driver):
    plan.write_bytes(b"of another version")
    sentence = (
        r"TensorRT 11\.4\.0 cannot load engine\.plan on this GPU \(Played GPU, compute "
        r"capability 8\.6\): version mismatch, built by 10\.0"
    )
    with pytest.raises(TargetFailed, match=sentence):
        TensorRTRunner(trt, "TensorRT", plan)
    assert driver.open == 0
