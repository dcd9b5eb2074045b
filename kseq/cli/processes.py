"""Which of several processes the command line runs in: the first one speaks for all."""

from __future__ import annotations

import os

from kseq.errors import DataError, UsageError

# What processes with the same command and the same files find alike.
_FOUND_ALIKE = (UsageError, DataError)


def speaks(error: Exception | None = None) -> bool:
    """Whether this process is to say something: the first always, others of errors of their own.

    What every process of a machine finds alike, where torchrun gave all the same command, is said
    by the first on each machine.

    Example:
        >>> speaks()
        True
    """
    if _leads():
        return True
    return error is not None and not (isinstance(error, _FOUND_ALIKE) and _has_twin())


def in_own_name(message: str) -> str:
    """Return an error's message with the number of this process, where another one leads."""
    if _leads():
        return message
    from kseq.backend.processes import place

    here = place()
    name = f"process {here.rank} of {here.size}: "
    return message if name in message else message.replace("error: ", f"error: {name}", 1)


def _has_twin() -> bool:
    """Whether another process of this machine was given the same command, and speaks."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"


def _leads() -> bool:
    if "RANK" not in os.environ:
        return True
    from kseq.backend.processes import place

    try:
        return place().leads
    except UsageError:
        # Of a place that is none, every process has to complain.
        return True
