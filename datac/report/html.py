"""Filling a template and putting the page where it belongs."""

from pathlib import Path

import jinja2

from datac.documents.build_folder import PAGE

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
    """Write `report.html` beside its place and rename, so that an old page stays whole."""
    path = folder / PAGE
    part = folder / f".{PAGE}.part"
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
