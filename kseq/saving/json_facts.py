"""JSON from a stranger: bounded before it is parsed, and without what JSON leaves open.

A few megabytes of brackets become gigabytes of Python lists; two readers of a key that is there
twice see two values.  NaN and infinity, which Python reads, are left to whoever knows where a
number may be one: the loss of a training that failed.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from kseq.data.model_files.refusing import DamageError

LEAST_CAP = 4 * 2**20
MOST_CAP = 64 * 2**20
METADATA_CAP = 2**16
_MOST_BRACKETS = 10_000
_LARGEST_INT = 2**53
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def config_cap(weights: int) -> int:
    """Return how long the configuration of a file with that many bytes of weights may be."""
    return min(MOST_CAP, max(LEAST_CAP, weights))


def parse(content: bytes, member: str) -> dict[str, Any]:
    """Return the JSON object that `content` is.

    Raises:
        DamageError: it is none, has more than 10,000 brackets, or a key twice.
    """
    if _brackets(content) > _MOST_BRACKETS:
        raise DamageError(f"{member} is nested too much")
    try:
        value = json.loads(content, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise DamageError(f"{member} is no JSON: {str(error)[:60]}") from error
    if not isinstance(value, dict):
        raise DamageError(f"{member} is no JSON object")
    return value


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number that every reader reads alike."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST_INT if isinstance(value, int) else math.isfinite(value)


def _brackets(content: bytes) -> int:
    count = content.count(b"[") + content.count(b"{")
    if count <= _MOST_BRACKETS:
        return count
    # The tokens of a vocabulary may be brackets.
    content = _STRING.sub(b"", content)
    return content.count(b"[") + content.count(b"{")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is there twice")
    return members
