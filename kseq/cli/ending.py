"""How a command ends that did not succeed: its exit code, and one line for standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from kseq.errors import KseqError

LONGEST_LINE = 300
# A remedy longer than this leaves too little room for what was found.
_LONGEST_REMEDY = 180
# PyTorch on a CPU and JAX have no exception of their own for a full memory.
_WORDS_OF_FULL_MEMORY = ("can't allocate memory", "RESOURCE_EXHAUSTED")


def explained(error: Exception) -> tuple[int, str]:
    """Return the exit code for `error`, and what to say of it."""
    if isinstance(error, KseqError):
        return error.exit_code, f"error: {error}"
    if _is_out_of_memory(error):
        return 5, "error: memory: must hold the model and a batch, found it full; " + (
            "reduce the batch size"
        )
    if isinstance(error, OSError):
        place, found = error.filename or "files", error.strerror or error
        return 5, f"error: {place}: must be usable, found {found}; check the path and the disk"
    found = f"{type(error).__name__}: {error}"
    return 1, f"error: kseq itself: must not fail, found {found}; run it again with --debug"


def interrupted(reason: str, arguments: Sequence[str]) -> str:
    """Return what to say where the user or the system ended a command.

    Example:
        >>> interrupted("stopped by Ctrl-C", ["devices"])
        'interrupted: stopped by Ctrl-C'
    """
    goes_on = arguments[:1] in (["train"], ["reproduce"])
    hint = "; with --resume a run goes on from its last checkpoint" if goes_on else ""
    return f"interrupted: {reason}{hint}"


def one_line(message: str) -> str:
    """Return `message` as one line of at most 300 characters; what is cut is not the remedy.

    Example:
        >>> one_line("error: units: must be a number, found 'x'; choose one")
        "kseq: error: units: must be a number, found 'x'; choose one"
        >>> line = one_line("error: units: must be a number, found " + 999 * "x" + "; choose one")
        >>> len(line), line[-18:]
        (300, 'xxxxxx; choose one')
    """
    line = " ".join(f"kseq: {message}".split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    head, mark, remedy = line.rpartition("; ")
    if len(line) <= LONGEST_LINE or len(remedy) > _LONGEST_REMEDY:
        return _cut(line, LONGEST_LINE)
    return _cut(head, LONGEST_LINE - len(mark + remedy)) + mark + remedy


def _cut(text: str, width: int) -> str:
    """Take out the middle of what is too long: its start and its end say most."""
    if len(text) <= width:
        return text
    tail = (width - 3) // 2
    return f"{text[: width - 3 - tail]}...{text[-tail:]}"


def _is_out_of_memory(error: Exception) -> bool:
    if any(words in str(error) for words in _WORDS_OF_FULL_MEMORY):
        return True
    if "keras" not in sys.modules:
        return isinstance(error, MemoryError)
    return isinstance(error, import_module("kseq.backend").out_of_memory_errors())
