"""The errors kseq raises on purpose, each with the exit code the command line gives it.

Every message has three parts: what must hold, what was found, and what to do.  The classes
also derive from the built-in exception a Python user would expect, so `except ValueError`
keeps working in code that has never heard of kseq.
"""


class KseqError(Exception):
    """Base of every error kseq raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(KseqError, ValueError):
    """An argument that cannot be used: a size, an option, an engine or a device."""

    exit_code = 2


class DataError(KseqError, ValueError):
    """A text or a series that cannot be used."""

    exit_code = 3


class ModelFileError(KseqError, ValueError):
    """A model file that is broken, foreign, unsafe or of the wrong kind."""

    exit_code = 4


class FileError(KseqError, OSError):
    """A file, a folder, a disk or a network that does not do what was asked."""

    exit_code = 5


class NumericalError(KseqError, ArithmeticError):
    """A loss or a gradient that is no longer finite."""

    exit_code = 6
