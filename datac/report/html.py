"""Filling a template and putting the page where it belongs."""

from pathlib import Path

import jinja2

from datac.documents.build_folder import PAGE
from datac.output_folder import write_beside

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    # Documents come from anywhere: whatever a template is given is text, unless our own SVG
    # writer marked it.
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def fill(template: str, **values: object) -> str:
    """One self-contained HTML page from a template of this package."""
    return _TEMPLATES.get_template(template).render(**values)


def write(folder: Path, page: str) -> Path:
    """Write `report.html` whole or not at all, so that an old page stays whole."""
    path = folder / PAGE
    write_beside(path, page)
    return path
