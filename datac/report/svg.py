"""Writing SVG as text: one function, and nothing that is not `Markup` goes in unescaped."""

import re

from markupsafe import Markup

NAMESPACE = "http://www.w3.org/2000/svg"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """`text` with every character that XML forbids replaced by U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """`<name attributes>children</name>`; plain strings are escaped, `Markup` is kept.

    In attribute names a final underscore is dropped (`class_`) and the others become hyphens;
    numbers are rounded to a hundredth; an attribute that is None is left out.
    """
    opening = name
    for key, value in attributes.items():
        if value is not None:
            written = printable(value) if isinstance(value, str) else f"{value:.2f}"
            if not isinstance(value, str):
                written = written.rstrip("0").rstrip(".")
            opening += Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), written)
    content = Markup().join(
        child if isinstance(child, Markup) else printable(child) for child in children
    )
    return Markup(f"<{opening}>{content}</{name}>")


def drawing(
    width: float, height: float, label: str, style: str, *children: str, class_: str
) -> Markup:
    """The outermost `<svg>` of `width` by `height` px, with what a screen reader says of it."""
    return element(
        "svg",
        element("title", label),
        element("style", Markup(style)),
        *children,
        xmlns=NAMESPACE,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        class_=class_,
    )
