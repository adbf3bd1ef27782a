"""Whether a platform's package is here and loads, told in words that fit a sentence."""

from importlib import import_module
from importlib.util import find_spec


def why_not_importable(module: str, attribute: str) -> str | None:
    """None if `module` imports and has `attribute`; else what is wrong, as a predicate.

    The attribute matters: of two packages that share a folder (onnxruntime and
    onnxruntime-gpu), uninstalling one leaves an import that succeeds and is empty.
    """
    try:
        if find_spec(module) is None:
            return "is not installed here"
        loaded = import_module(module)
    except (ImportError, OSError) as error:
        return f"is installed here but does not load ({one_line(error)})"
    if not hasattr(loaded, attribute):
        return f"is installed here but damaged (it has no {attribute})"
    return None


def one_line(error: object) -> str:
    """A platform's message without its line breaks, so that it fits into a sentence."""
    return " ".join(str(error).split()).rstrip(".")
