"""Help under headings: every option once, and a heading for none that there is not."""

import re

import click
import pytest
from click.testing import CliRunner

from datac.cli import root
from datac.cli.options import network_options
from datac.cli.sections import NETWORK, SectionedCommand


@pytest.mark.parametrize("name", ["search", "compile"])
def test_every_option_stands_once_in_the_help(name):
    command = root.get_command(click.Context(root), name)
    text = CliRunner().invoke(root, [name, "--help"]).output
    listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE)
    options = [p.opts[-1] for p in command.params if isinstance(p, click.Option)]
    assert sorted(listed) == sorted([*options, "--help"])
    for title in command.sections:
        assert f"\n{title}:\n" in text


def test_what_says_how_a_network_is_made_stands_together():
    @network_options
    def command(**values): ...

    assert {parameter.name for parameter in command.__click_params__} == set(NETWORK)


def test_a_heading_of_a_parameter_that_is_not_there_is_a_mistake():
    with pytest.raises(ValueError, match="command show has no parameter nowhere"):
        SectionedCommand("show", sections={"Here": ("nowhere",)})
    twice = {"Here": ("out",), "There": ("out",)}
    with pytest.raises(ValueError, match="out of the command show stands under two headings"):
        SectionedCommand("show", params=[click.Option(["--out"])], sections=twice)
