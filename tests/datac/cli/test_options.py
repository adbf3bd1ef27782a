from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from datac.cli import COMMANDS, options, root
from datac.cli import run as datac
from datac.cli.options import (
    Finite,
    NetworkOptions,
    RunOptions,
    network_from,
    network_options,
    run_options,
)
from datac.datasets.dataset import Sample
from datac.documents.genotype import Cell, Genotype, Node, Path
from datac.documents.network import DEFAULTS, LARGEST_SIZE, Classes, Network, Preprocessing, Task
from datac.errors import BadInput

CELL = Cell(nodes=(Node(paths=(Path(operation="sep_conv_3x3", input=0),)),), output=(2,))
OWN = Network(
    skeleton="segmentation",
    channels=16,
    cells=8,
    classes=4,
    input=(3, 64, 96),
    output_stride=8,
    head_channels=32,
    preprocessing=Preprocessing(mean=(0.5,) * 3, standard_deviation=(0.25,) * 3),
    class_info=Classes(names=("sky", "disc", "box", "bar")),
)


@dataclass(frozen=True)
class FakeDataset:
    """What `network_from` looks at."""

    task: Task
    classes: Classes
    name: str = "pets"
    digest: str = ""
    splits: Mapping[str, Sequence[Sample]] = field(default_factory=dict)


CATS_AND_DOGS = Classes(names=("cat", "dog"))


def genotype(network: Network | None) -> Genotype:
    return Genotype(cells={"normal": CELL, "reduction": CELL}, network=network)


def parsed(*arguments: str) -> tuple[NetworkOptions, RunOptions]:
    """What a command gets; BadInput as it is raised."""
    got: list[tuple[NetworkOptions, RunOptions]] = []

    @click.command()
    @network_options
    @run_options
    def command(network_options: NetworkOptions, run_options: RunOptions) -> None:
        got.append((network_options, run_options))

    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, BadInput):
        raise result.exception
    assert result.exit_code == 0, result.output
    return got[0]


def test_nothing_given() -> None:
    assert parsed() == (NetworkOptions(), RunOptions())


def test_everything_given() -> None:
    network, run = parsed(
        *("--network", "segmentation", "--channels", "16", "--cells", "8", "--classes", "11"),
        *("--input", "3x180x240", "--output-stride", "8", "--head-channels", "64"),
        *("--batch-size", "4", "--crop", "180x240", "--device", "cpu", "--seed", "7", "--resume"),
    )
    assert network == NetworkOptions("segmentation", 16, 8, 11, (3, 180, 240), 8, 64)
    assert run == RunOptions(4, (180, 240), "cpu", seed=7, resume=True)


def test_a_crop_of_one_number_is_square() -> None:
    assert parsed("--crop", "32")[1].crop == (32, 32)


@given(st.tuples(*[st.integers(1, 1 << 16)] * 3))
def test_an_input_is_read_as_written(sizes: tuple[int, int, int]) -> None:
    assert parsed("--input", "x".join(map(str, sizes)))[0].input == sizes


WRONG_LENGTH = ["", "x", "224", "3x224", "3x224x224x1", "3x224x"]
WRONG_SIZE = ["3x0x224", "3x-1x224", "3x1e2x224", "3x99999999999x2", "3x65537x2"]
WRONG_CHARACTERS = ["3 x 2 x 2", "3×224×224", "3x٣x4"]


@pytest.mark.parametrize("text", WRONG_LENGTH + WRONG_SIZE + WRONG_CHARACTERS)
def test_a_wrong_input_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"--input .* is not CHANNELSxHEIGHTxWIDTH .*3x224x224"):
        parsed("--input", text)


@pytest.mark.parametrize("text", ["0", "-3", "10x20x30", "0x10"])
def test_a_wrong_crop_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"--crop .* is not HEIGHTxWIDTH"):
        parsed("--crop", text)


@pytest.mark.parametrize(
    "option", ["--channels", "--cells", "--classes", "--head-channels", "--batch-size"]
)
@pytest.mark.parametrize("value", ["0", "-2", "two"])
def test_a_size_below_one_is_refused(option: str, value: str) -> None:
    @click.command()
    @network_options
    @run_options
    def command(**_options: object) -> None:
        raise AssertionError

    result = CliRunner().invoke(command, [option, value])
    assert result.exit_code == 2
    assert option in result.output


def test_a_side_may_be_as_large_as_in_the_document() -> None:
    assert options.LARGEST_SIZE == LARGEST_SIZE


def test_the_images_of_a_data_set_have_three_channels() -> None:
    with pytest.raises(BadInput, match="--input with 1 channel: the images of a data set have 3"):
        network_from(
            NetworkOptions(input=(1, 32, 32)), None, FakeDataset("segmentation", CATS_AND_DOGS)
        )


def test_resume_and_restart_exclude_each_other() -> None:
    with pytest.raises(BadInput, match="choose one"):
        parsed("--resume", "--restart")


def test_the_options_keep_their_order_in_the_help() -> None:
    @click.command()
    @network_options
    def command(network_options: NetworkOptions) -> None:
        """Something."""

    names = [parameter.opts[0] for parameter in command.params]
    assert names[:2] == ["--network", "--channels"]
    assert names[-1] == "--head-channels"


@pytest.mark.parametrize("skeleton", list(DEFAULTS))
def test_the_defaults(skeleton: str) -> None:
    assert network_from(parsed("--network", skeleton)[0]) == DEFAULTS[skeleton]


def test_without_anything_it_is_cifar() -> None:
    assert network_from(NetworkOptions(), genotype(None)) == DEFAULTS["cifar"]


def test_the_genotype_s_own_network_comes_before_the_defaults() -> None:
    assert network_from(NetworkOptions(), genotype(OWN)) == OWN
    assert network_from(NetworkOptions(network="segmentation"), genotype(OWN)) == OWN


def test_the_command_line_comes_before_the_genotype_s_own() -> None:
    network = network_from(NetworkOptions(channels=32, input=(3, 91, 133)), genotype(OWN))
    assert OWN.preprocessing is not None
    resized = OWN.preprocessing.model_copy(update={"resize": (91, 133)})
    changes = {"channels": 32, "input": (3, 91, 133), "preprocessing": resized}
    assert network == OWN.model_copy(update=changes)


def test_another_skeleton_drops_the_genotype_s_sizes() -> None:
    network = network_from(NetworkOptions(network="imagenet", cells=8), genotype(OWN))
    assert network == DEFAULTS["imagenet"].model_copy(update={"cells": 8})


def test_another_class_count_drops_the_class_names() -> None:
    assert network_from(NetworkOptions(classes=4), genotype(OWN)).class_info == OWN.class_info
    assert network_from(NetworkOptions(classes=5), genotype(OWN)).class_info is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (NetworkOptions(channels=15), "channels 15 is odd"),
        (NetworkOptions(input=(3, 0, 32)), "has a size below 1"),
        (NetworkOptions(cells=0), '"cells" must be at least 1, not 0'),
        (NetworkOptions(cells=1001), '"cells" must be at most 1000, not 1001'),
        (NetworkOptions(channels=65538), '"channels" must be at most 65536'),
        (NetworkOptions(classes=65537), '"classes" must be at most 65536'),
        (
            NetworkOptions(network="segmentation", head_channels=65537),
            '"head_channels" must be at most 65536',
        ),
        (NetworkOptions(output_stride=8), "output_stride belongs to the segmentation skeleton"),
    ],
)
def test_options_that_make_no_network(options: NetworkOptions, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        network_from(options)


@pytest.mark.parametrize(("task", "skeleton"), [("segmentation",) * 2, ("classification", "cifar")])
def test_a_data_set_decides_where_nothing_else_does(task: Task, skeleton: str) -> None:
    network = network_from(NetworkOptions(), None, FakeDataset(task, CATS_AND_DOGS))
    assert (network.skeleton, network.classes) == (skeleton, 2)
    assert network.class_info == CATS_AND_DOGS


def test_a_data_set_replaces_the_classes_that_a_genotype_was_searched_on() -> None:
    dataset = FakeDataset("segmentation", CATS_AND_DOGS)
    network = network_from(NetworkOptions(), genotype(OWN), dataset)
    assert (network.classes, network.class_info) == (2, CATS_AND_DOGS)
    assert network.preprocessing is not None
    assert network.preprocessing.resize == OWN.input[1:]


@pytest.mark.parametrize("options", [NetworkOptions(network="cifar"), NetworkOptions(classes=21)])
def test_a_data_set_that_contradicts_is_refused(options: NetworkOptions) -> None:
    with pytest.raises(BadInput, match="pets"):
        network_from(options, genotype(OWN), FakeDataset("segmentation", CATS_AND_DOGS))


# ---- numbers -------------------------------------------------------------------------------------

EMIT = ("data-m4", "--emit-only")
OF_SECONDS = [
    ("compile", *EMIT, "--bench-seconds"),
    ("compile", *EMIT, "--tune-seconds"),
    ("bench", "build", "--seconds"),
    ("ablate", "build", "--seconds"),
    ("table", "--target", "onnx", "--seconds"),
    ("selftest", "--seconds"),
]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", "604801"])
@pytest.mark.parametrize("words", OF_SECONDS, ids=lambda words: f"{words[0]} {words[-1]}")
def test_seconds_that_nobody_has_are_refused_at_once(words, value, capsys) -> None:
    assert datac([*words, value]) == 2
    assert f"Invalid value for '{words[-1]}'" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "0"])
def test_a_tolerance_is_a_finite_number(value, capsys) -> None:
    assert datac(["check", "--saved", "report.json", "--tolerance", value]) == 2
    assert "Invalid value for '--tolerance'" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_no_range_of_a_command_takes_nan(name: str) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    ranges = [p for p in command.params if isinstance(p.type, click.FloatRange)]
    assert [p.name for p in ranges if not isinstance(p.type, Finite)] == []
