"""datac: an export-oriented architecture compiler."""

__version__ = "0.1.0"
