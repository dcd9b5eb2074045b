"""Reports on standard output, for a script or for a person; lines beside them on standard error."""

from __future__ import annotations

import json
import math
import re
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

# C0 without tab and line feed, DEL, and C1: what moves a terminal's cursor, or worse.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_report(report: dict[str, Any], words: str, as_json: bool) -> None:
    """Print `words`, or the report as one line of JSON that any locale can carry."""
    print(json.dumps(finite(report)) if as_json else printable(words))


def printable(text: str) -> str:
    r"""Return a text with its control characters, but tab and line feed, in their escaped form.

    The tokens of a model are whatever its file says, a terminal's commands among them.

    Example:
        >>> print(printable("a \x1b[2J"))
        a \x1b[2J
    """
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def say(line: str) -> None:
    """Print a line on standard error, where there is one that takes it: no command ends of that."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def nobody_reads(stream: TextIO | None) -> bool:
    """Whether `stream` is a pipe whose reader has gone."""
    if stream is None:
        return False
    try:
        stream.flush()
        place = stream.fileno()
    except BrokenPipeError:
        return True
    except (OSError, ValueError):  # full, or no file at all
        return False
    if not hasattr(select, "poll"):
        return False
    # What a large print could not write, nothing holds any more to be flushed.
    watch = select.poll()
    watch.register(place, select.POLLERR)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))


def finite(value: Any) -> Any:
    """Return a report with None for the numbers JSON does not have.

    Example:
        >>> finite({"perplexity": float("inf"), "floors": [2.0]})
        {'perplexity': None, 'floors': [2.0]}
    """
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
