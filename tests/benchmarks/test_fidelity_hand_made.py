"""Fast-SCNN is trained and measured as a child is."""

from dataclasses import replace

import pytest
from fidelity_hand_made import train_hand_made
from fidelity_run import Task
from fidelity_schedule import Name
from fidelity_sizes import HAND_MADE, SIZES

from datac.datasets import open_dataset
from datac.errors import BadInput
from datac.output_folder import state_of

TINY = SIZES["tiny"]["camvid"]


@pytest.fixture(autouse=True)
def _what_it_needs():
    pytest.importorskip("pytorchcv")
    pytest.importorskip("onnxscript")


def trained(folder, study=TINY):
    task = Task(Name("camvid", HAND_MADE, 0), "tiny", "shapes", folder, "cpu")
    return train_hand_made(task, study, open_dataset("shapes"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_net_made_by_hand_is_trained_and_measured(tmp_path):
    found = trained(tmp_path)
    assert found.epochs == TINY.training.epochs == 1
    assert found.last == found.best
    assert 0 < found.last.miou < 1
    assert found.parameters > 1e6
    assert found.latency_ms > 0
    assert state_of(tmp_path / "child") is not None
    assert trained(tmp_path).last == found.last, "what is finished is measured, not trained again"


def test_its_loss_is_watched(tmp_path):
    wild = replace(TINY, training=replace(TINY.training, learning_rate=1e30, warm_up=0.0))
    with pytest.raises(BadInput, match="a --learning-rate below 1e\\+30"):
        trained(tmp_path, wild)
