"""Help under headings, for commands that have more options than a screen has lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

NETWORK = (
    "network",
    "channels",
    "cells",
    "classes",
    "input",
    "output_stride",
    "head_channels",
)
"""The parameters of `datac.cli.options.network_options`."""


class SectionedCommand(click.Command):
    """Lists each parameter of `sections` (heading → names) under its heading, the others first."""

    def __init__(self, *args: Any, sections: Mapping[str, tuple[str, ...]], **values: Any) -> None:
        super().__init__(*args, **values)
        self.sections = sections
        named = [name for names in sections.values() for name in names]
        own = {parameter.name for parameter in self.params}
        for name in named:
            if name not in own:
                raise ValueError(f"the command {self.name} has no parameter {name}")
            if named.count(name) > 1:
                raise ValueError(f"{name} of the command {self.name} stands under two headings")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        headings = {name: title for title, names in self.sections.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {"Options": []}
        rows |= {title: [] for title in self.sections}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None and isinstance(parameter, click.Option):
                rows[headings.get(parameter.name or "", "Options")].append(row)
        for title, lines in rows.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
