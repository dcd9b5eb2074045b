"""Which of several processes the command line runs in: the first one speaks for all."""

from __future__ import annotations

import os

from kseq.errors import DataError, UsageError

# What every process finds alike, so that one of them has to say it.
_FOUND_BY_ALL = (UsageError, DataError)


def speaks(error: Exception | None = None) -> bool:
    """Whether this process is to say something: the first always, others of errors of their own.

    Example:
        >>> speaks()
        True
    """
    return _leads() or not (error is None or isinstance(error, _FOUND_BY_ALL))


def _leads() -> bool:
    if "RANK" not in os.environ:
        return True
    from kseq.backend.processes import place

    try:
        return place().leads
    except UsageError:
        # Of a place that is none, every process has to complain.
        return True
