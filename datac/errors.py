"""The two errors that a user can mend, each with its exit code.

    DatacError
      BadInput          2   something that was given is wrong; nothing was written
      PlatformMissing   3   a package, driver or device is missing

A failed gate is a verdict in a document, not an exception (exit code 1); an inconclusive
benchmark likewise (4). Whatever else escapes is a bug of ours (70).
"""


class DatacError(Exception):
    """One sentence that names the thing and the way out."""

    exit_code = 70


class BadInput(DatacError):
    """What the user gave is wrong: a file, an option, a data set."""

    exit_code = 2


class PlatformMissing(DatacError):
    """What the user asked for needs something that this machine does not have."""

    exit_code = 3
