"""Which versions of other packages are installed."""

from importlib import metadata


def installed_version(distribution: str) -> str | None:
    """The version of a distribution, by its name on PyPI; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
