"""`model.py`: the trainable module to the last bit, in one file that needs torch alone."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from compiler.lower import lower
from compiler.model_file import print_model
from compiler.torch_module import GraphModule, read_weights
from datac.documents.genotype import Genotype
from datac.documents.network import Classes, Network, Preprocessing
from datac.published import load

Tiny = Callable[..., Network]

SKELETONS = ("cifar", "imagenet", "segmentation")
CELLS = ("data-m4", "data-m7", "darts-top4", "nasnet-a", "amoebanet-a", "gdas-v1")
"""Among them: nodes outside the output, a path that stands twice, 7x7 and 7x1_1x7, cells that
nobody reads."""


@dataclass(frozen=True)
class Written:
    """A model.py, and the module that it must equal."""

    text: str
    module: GraphModule
    size: tuple[int, int, int]


def write(genotype: Genotype, network: Network) -> Written:
    graph = lower(genotype, network)
    torch.manual_seed(0)
    module = GraphModule(graph).train()
    with torch.no_grad():  # running statistics that are not those of a fresh net
        module(torch.randn(4, *network.input))
    return Written(print_model(graph, genotype, network), module.eval(), network.input)


def run(text: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), space)  # our own text
    return space


def assert_equal(written: Written, network: torch.nn.Module) -> None:
    torch.manual_seed(1)
    with torch.inference_mode():
        for size in (written.size, (3, 12, 19)):
            x = torch.randn(2, *size)
            assert torch.equal(network(x), written.module(x))


@pytest.mark.parametrize(("skeleton", "name"), [*itertools.product(SKELETONS, CELLS)])
def test_it_is_the_module_bit_for_bit(skeleton: str, name: str, tiny: Tiny, tmp_path: Path) -> None:
    written = write(load(name), tiny(skeleton, cells=6))
    save_file(read_weights(written.module), tmp_path / "weights.safetensors")
    assert_equal(written, run(written.text)["load"](tmp_path / "weights.safetensors"))


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_it_is_the_module_for_any_genotype(
    genotypes: st.SearchStrategy[Genotype], tiny: Tiny, data: st.DataObject
) -> None:
    written = write(data.draw(genotypes), tiny(data.draw(st.sampled_from(SKELETONS))))
    network = run(written.text)["Network"]().eval()
    network.load_state_dict(written.module.state_dict(), strict=True)
    assert_equal(written, network)


def test_mean_aggregation(tiny: Tiny) -> None:
    genotype = load("data-m7").model_copy(update={"aggregation": "mean"})
    written = write(genotype, tiny("cifar"))
    network = run(written.text)["Network"]().eval()
    network.load_state_dict(written.module.state_dict(), strict=True)
    assert_equal(written, network)
    assert "* 0.25" in written.text


def texts(tiny: Tiny) -> dict[str, str]:
    """Files of every skeleton, with long sums, and with everything that a docstring may hold."""
    described = {
        "preprocessing": Preprocessing(mean=(0.5,) * 3, standard_deviation=(0.25,) * 3),
        "class_info": Classes(names=('a "quoted" """ name', "back\\slash", "Straße", *"xy")),
    }
    found = {}
    for skeleton, name in itertools.product(SKELETONS, CELLS):
        genotype = load(name)
        mean = genotype.model_copy(update={"aggregation": "mean"})
        for kind in (genotype, mean):
            network = tiny(skeleton, cells=8, channels=16, **described)
            text = print_model(lower(kind, network), kind, network)
            found[f"{skeleton}_{name}_{kind.aggregation}.py"] = text
    return found


def test_it_is_formatted(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for name, text in texts(tiny).items():
        compile(text, name, "exec")
        (tmp_path / name).write_text(text, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "--diff"]
    options = ["--line-length", "100", str(tmp_path)]
    done = subprocess.run([*ruff, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[:3000]


def test_it_says_what_it_is(tiny: Tiny) -> None:
    genotype = load("data-m7")
    text = print_model(lower(genotype, tiny("cifar")), genotype, tiny("cifar"))
    assert genotype.hash[:16] in text
    assert "node 2 = skip_connect(0) + sep_conv_3x3(0) + skip_connect(1)" in text
    for name in ("NormalCell", "ReductionCell", "SepConv3x3", "FactorizedReduce", "Network"):
        assert f"class {name}(nn.Module)" in text
    assert text.count("class SepConv3x3(") == 1, "one class serves every cell"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda weights: weights.pop("head.linear.bias"), "head.linear.bias"),
        (lambda weights: weights.update(more=weights["head.linear.bias"]), "more"),
        (lambda weights: weights.update({"stem.norm.bias": weights["head.linear.bias"]}), "stem"),
    ],
)
def test_its_loader_is_strict(
    change: Callable[[Any], Any], reason: str, tiny: Tiny, tmp_path: Path
) -> None:
    written = write(load("data-m4"), tiny("cifar"))
    weights = read_weights(written.module)
    change(weights)
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(RuntimeError, match=reason):
        run(written.text)["load"](tmp_path / "weights.safetensors")


ALONE = """
import sys, runpy

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
runpy.run_path("model.py", run_name="__main__")
"""


def test_it_runs_in_a_folder_with_its_weights_and_nothing_of_datac(
    tiny: Tiny, tmp_path: Path
) -> None:
    written = write(load("data-m7"), tiny("segmentation"))
    (tmp_path / "model.py").write_text(written.text, encoding="utf-8")
    save_file(read_weights(written.module), tmp_path / "weights.safetensors")
    ours = ("datac", "compiler", "searcher", "exporters")
    others = ("safetensors", "onnx", "pydantic", "click", "rich")
    script = ALONE.format(names={*ours, *others})
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1, 5, 35, 33)\n"
