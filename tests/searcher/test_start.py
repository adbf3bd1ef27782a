"""Weights that are not finite, where a child was to begin with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from compiler.candidates import SEARCH_SPACE
from compiler.lower import lower
from compiler.torch_module import GraphModule
from datac.cli import run
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.exit_codes import ExitCode
from datac.published import load
from searcher.gumbel import Layout
from searcher.supernet import Supernet

NETWORK = Network(skeleton="imagenet", channels=4, cells=3, classes=5, input=(3, 32, 32))
GENOTYPE = load("data-m4")
CHOSEN = "cell0.node2.input1.sep_conv_3x3.depthwise0.weight"
DROPPED = "cell0.node2.input1.sep_conv_5x5.depthwise0.weight"
CARRIED = "cell1.node3.path1.norm0.running_var"
HEAD = "head.linear.weight"
TRAIN = [
    *("train", "genotype.json", "--data", "shapes-classification", "--network", "imagenet"),
    *("--channels", "4", "--cells", "3", "--crop", "32", "--device", "cpu"),
    *("--batch-size", "256", "--epochs", "1"),
]


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a genotype, a RUN and a CHILD, as far as a training begins with them."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    genotype: Genotype = GENOTYPE.model_copy(update={"network": NETWORK})
    Path("run").mkdir()
    save_file(weights_of(Supernet(NETWORK, Layout(SEARCH_SPACE, 4))), "run/supernet.safetensors")
    Path("theirs").mkdir()
    child = GraphModule(lower(GENOTYPE, NETWORK))
    save_file(weights_of(child), "theirs/weights.safetensors")
    for folder in (Path(), Path("theirs")):
        (folder / "genotype.json").write_text(genotype.to_json())
    return tmp_path


def break_one(path: Path, name: str, value: float) -> None:
    weights = load_file(path)
    weights[name].flat[-1] = value
    save_file(weights, path)


INHERIT = ("--inherit", "run", "run/supernet.safetensors")
BACKBONE = ("--backbone", "theirs", "theirs/weights.safetensors")
WHOLE = ("--weights", "theirs", "theirs/weights.safetensors")


@pytest.mark.parametrize(
    ("begin", "name", "value"),
    [
        (INHERIT, CHOSEN, np.nan),
        (INHERIT, "stem.norm0.running_mean", np.inf),
        (BACKBONE, CARRIED, -np.inf),
        (BACKBONE, "stem.conv0.weight", np.nan),
        (WHOLE, HEAD, np.nan),
    ],
)
def test_they_are_refused_by_name_before_anything_is_written(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    begin: tuple[str, str, str],
    name: str,
    value: float,
) -> None:
    option, folder, file = begin
    break_one(Path(file), name, value)
    assert run([*TRAIN, option, folder]) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert f"{file}: tensor {name} holds a value that is NaN or infinite" in said
    assert said.count("\n") == 1
    assert not (here / "child").exists()


@pytest.mark.parametrize(("begin", "name"), [(INHERIT, DROPPED), (BACKBONE, HEAD)])
@pytest.mark.usefixtures("here", "one_thread")
def test_what_the_child_does_not_take_may_be_anything(
    begin: tuple[str, str, str], name: str
) -> None:
    option, folder, file = begin
    break_one(Path(file), name, np.nan)
    assert run([*TRAIN, option, folder]) == ExitCode.PASS
    assert np.isfinite(load_file("child/last.safetensors")["stem.conv0.weight"]).all()
